#include "kernels/linear/matmul/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/guarded.h"
#include "kernels/linear/gemm/gemm_cases.h"

namespace mote::kernels {
namespace {

std::vector<float> product(const GemmData& data, const Run& run) {
  Guarded<float> c(static_cast<Index>(data.c.size()));
  std::copy(data.c.begin(), data.c.end(), c.data());
  matmul(data.args(c.data(), Precision::f32), run);
  return c.values();
}

// One tile, many tiles down, many across, both, and as few as can be.
std::vector<GemmCase> cases() {
  std::vector<GemmCase> all;
  int number = 0;
  for (const auto& [m, n, k] : {std::array<Index, 3>{5, 7, 9},
                                {701, 90, 40},
                                {3, 2001, 60},
                                {50, 2001, 60},
                                {350, 1100, 13},
                                {64, 0, 8},
                                {0, 64, 8},
                                {400, 300, 0}})
    for (int i = 0; i < 5; ++i) all.push_back(with_options(m, n, k, number = (number + 37) % 512));
  for (const Rows rows : {Rows::outer, Rows::inner})
    all.push_back({.m = 100, .n = 1100, .k = 200, .b = rows, .source = true});
  return all;
}

class Matmul : public ::testing::TestWithParam<GemmCase> {};

TEST_P(Matmul, EqualsOneBlockOfTheReference) {
  const GemmData data(GetParam());
  const auto reference = [](const GemmData& of) {
    std::vector<float> c = of.c;
    gemm(of.args(c.data(), Precision::f32), {Isa::reference});
    return c;
  };
  GemmData sizes = data.sizes();
  sizes.shape.relu = false;
  EXPECT_LE(worst_error(product(data, {}), reference(data), reference(sizes),
                        gemm_tolerance(GetParam().k)),
            1);
}

TEST_P(Matmul, HasTheSameBitsForAnyThreads) {
  const GemmData data(GetParam());
  const ThreadPool three(3);
  EXPECT_EQ(product(data, {Isa::amx, &three}), product(data, {}));
}

INSTANTIATE_TEST_SUITE_P(All, Matmul, ::testing::ValuesIn(cases()), [](const auto& each) {
  return case_name(each.param) + word("_number", static_cast<Index>(each.index));
});

}  // namespace
}  // namespace mote::kernels
