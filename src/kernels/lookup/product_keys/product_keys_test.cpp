#include "kernels/lookup/product_keys/product_keys.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/lookup/product_keys/product_keys_cases.h"

namespace mote::kernels {
namespace {

struct Found {
  std::vector<std::int32_t> index;
  std::vector<float> score;
};

template <class Search>
Found found(const ProductKeyData& data, const Search& search) {
  const ProductKeyCase& c = data.shape;
  Guarded<std::int32_t> index(data.pairs());
  Guarded<float> score(data.pairs());
  search(ProductKeySearch{data.q_NHC(), data.keys_SnC(), view(index.data(), c.tokens, c.heads, c.k),
                          view(score.data(), c.tokens, c.heads, c.k)});
  return {index.values(), score.values()};
}
Found searched(const ProductKeyData& data, const Run& run = {}) {
  return found(data, [&](const ProductKeySearch& args) { product_key_search(args, run); });
}
Found by_brute_force(const ProductKeyData& data) {
  return found(data, product_key_search_reference);
}

// specs/peer.md vector A: 8 and 0 tie, the rank in the first half decides.
TEST(ProductKeys, GiveVectorAOfTheSpecification) {
  const std::vector<float> q = {1, 2, 3, -1}, keys = {1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 2};
  const std::vector<std::int32_t> best = {6, 3, 8, 0, 5};
  const std::vector<float> scores = {6, 5, 4, 4, 3};
  for (Index k = 1; k <= 5; ++k) {
    std::vector<std::int32_t> index(static_cast<std::size_t>(k));
    std::vector<float> score(static_cast<std::size_t>(k));
    product_key_search({view(q.data(), 1, 1, 4), view(keys.data(), 2, 3, 2),
                        view(index.data(), 1, 1, k), view(score.data(), 1, 1, k)},
                       {});
    EXPECT_TRUE(std::equal(index.begin(), index.end(), best.begin())) << k;
    EXPECT_TRUE(std::equal(score.begin(), score.end(), scores.begin())) << k;
  }
}

class ProductKeySearchIsa : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!supported(GetParam())) GTEST_SKIP() << "no " << name(GetParam()) << " here";
  }
};

// Sums of whole numbers are exact, so that every instruction set must find the same list, ties and all.
TEST_P(ProductKeySearchIsa, IsExactForEverySmallSizeWithTies) {
  for (Index keys = 1; keys <= 9; ++keys)
    for (Index k = 1; k <= keys * keys; ++k) {
      const ProductKeyData data({3, 2, keys, 2, k, k % 2 == 0, k % 3 == 0, true});
      const Found got = searched(data, {GetParam()}), want = by_brute_force(data);
      ASSERT_EQ(got.index, want.index) << case_name(data.shape);
      ASSERT_EQ(got.score, want.score) << case_name(data.shape);
    }
}

TEST_P(ProductKeySearchIsa, IsExactForLargeSetsWithTies) {
  for (const Index k : {1, 8, 16, 31, 32, 100})
    for (const Index keys : {33, 128, 200}) {
      const ProductKeyData data({5, 2, keys, 5, k, false, false, true});
      const Found got = searched(data, {GetParam()}), want = by_brute_force(data);
      ASSERT_EQ(got.index, want.index) << case_name(data.shape);
      ASSERT_EQ(got.score, want.score) << case_name(data.shape);
    }
}

// Shapes of which few keys are scored, and the same with a key that rules that out.
TEST_P(ProductKeySearchIsa, IsExactWhereFewKeysAreScored) {
  for (const bool broken : {false, true}) {
    ProductKeyData data({100, 2, 256, 64, 4, false, false, true});
    if (broken) data.keys[64 * 77] = NAN;
    const Found got = searched(data, {GetParam()}), want = searched(data, {Isa::reference});
    EXPECT_EQ(got.index, want.index) << broken;
    EXPECT_EQ(got.score, want.score) << broken;
  }
}

// Products of other numbers are rounded; scores then agree to rounding, place by place.
TEST_P(ProductKeySearchIsa, GivesTheScoresOfTheBestToRounding) {
  for (const bool own_keys : {false, true}) {
    const ProductKeyData data({150, 3, 64, 24, 16, !own_keys});
    const Found got = searched(data, {GetParam()}), want = by_brute_force(data);
    for (std::size_t i = 0; i < want.score.size(); ++i)
      ASSERT_NEAR(got.score[i], want.score[i], 48 * kRounding * 50) << i;
  }
}
INSTANTIATE_TEST_SUITE_P(All, ProductKeySearchIsa, ::testing::ValuesIn(all_isas()),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST(ProductKeys, HaveTheSameBitsForAnyThreads) {
  const ThreadPool three(3);
  const ProductKeyData data({150, 3, 64, 24, 16});
  const Found one = searched(data), many = searched(data, {Isa::amx, &three});
  EXPECT_EQ(one.index, many.index);
  EXPECT_EQ(one.score, many.score);
}

struct Gradients {
  std::vector<float> dq, dkeys;
};
template <class Backward>
Gradients gradients(const ProductKeyData& data, const std::vector<float>& dscore,
                    const Backward& backward) {
  const ProductKeyCase& c = data.shape;
  const Found best = by_brute_force(data);
  Guarded<float> dq(c.tokens * c.heads * 2 * c.half), dkeys(static_cast<Index>(data.keys.size()));
  backward(ProductKeyBackward{
      data.q_NHC(), data.keys_SnC(), view(best.index.data(), c.tokens, c.heads, c.k),
      view(dscore.data(), c.tokens, c.heads, c.k), view(dq.data(), c.tokens, c.heads, 2 * c.half),
      view(dkeys.data(), 2 * data.sets(), c.keys, c.half)});
  return {dq.values(), dkeys.values()};
}

TEST_P(ProductKeySearchIsa, BackwardMatchesTheReference) {
  for (const ProductKeyCase& shape :
       std::vector<ProductKeyCase>{{0, 2, 4, 3, 2},
                                   {1, 1, 1, 1, 1},
                                   {17, 2, 9, 7, 4},
                                   {17, 2, 9, 7, 4, false},
                                   {17, 3, 130, 16, 9, true, true},
                                   {40, 2, 70, 33, 16, false, true}}) {
    const ProductKeyData data(shape);
    const std::vector<float> dscore = normals(data.pairs(), 3);
    const Gradients got = gradients(data, dscore,
                                    [&](const ProductKeyBackward&args) {
                                      product_key_backward(args, {GetParam()});
                                    }),
                    want = gradients(data, dscore, product_key_backward_reference);
    const auto close = [&](const std::vector<float>& a, const std::vector<float>& b) {
      return worst_error(a, b, std::vector<float>(b.size(), 30), 40 * kRounding) <= 1;
    };
    EXPECT_TRUE(close(got.dq, want.dq)) << case_name(shape);
    EXPECT_TRUE(close(got.dkeys, want.dkeys)) << case_name(shape);
  }
}

TEST(ProductKeys, BackwardHasTheSameBitsForAnyThreads) {
  const ThreadPool three(3);
  const ProductKeyData data({60, 3, 70, 24, 16});
  const std::vector<float> dscore = normals(data.pairs(), 3);
  const auto by = [&](const kernels::Run& run) {
    return gradients(data, dscore,
                     [&](const ProductKeyBackward& args) { product_key_backward(args, run); });
  };
  const Gradients one = by({}), many = by({Isa::amx, &three});
  EXPECT_EQ(one.dq, many.dq);
  EXPECT_EQ(one.dkeys, many.dkeys);
}

TEST(ProductKeys, RefuseSizesThatDisagree) {
  const ProductKeyData data({2, 2, 3, 2, 9});
  const auto refusal = [&](Index k, Index sets) -> std::string {
    std::vector<std::int32_t> index(static_cast<std::size_t>(4 * k));
    std::vector<float> score(index.size());
    try {
      product_key_search({data.q_NHC(), view(data.keys.data(), 2 * sets, 3, 2),
                          view(index.data(), 2, 2, k), view(score.data(), 2, 2, k)},
                         {});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(9, 1), "accepted");
  EXPECT_NE(refusal(10, 1).find("k is 10, there are 9 keys"), std::string::npos);
  EXPECT_NE(refusal(4, 0).find("0 sets of keys for 2 heads"), std::string::npos);
}

}  // namespace
}  // namespace mote::kernels
