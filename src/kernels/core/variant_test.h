// What tests of variant tables share: every row with every case, skipped aloud where the processor
// lacks it, named in words ("avx2_tokens5_slots2").
//
// A row is a Variant, an instruction set that a dispatching call is held to, or a struct of the
// test's own with isa_of(row) and row_name(row); a case has case_name(c).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "kernels/core/variants.h"

namespace mote::kernels {

inline Isa isa_of(Isa isa) {
  return isa;
}
template <class Args>
Isa isa_of(const Variant<Args>& variant) {
  return variant.isa;
}
inline std::string row_name(Isa isa) {
  return name(isa);
}
template <class Args>
std::string row_name(const Variant<Args>& variant) {
  return name(variant.isa);
}

template <class Row, class Case>
class VariantTest : public ::testing::TestWithParam<std::tuple<Row, Case>> {
 protected:
  void SetUp() override {
    const Isa isa = isa_of(row());
    if (!supported(isa)) GTEST_SKIP() << "no " << name(isa) << " here";
  }
  const Row& row() const { return std::get<0>(this->GetParam()); }
  const Case& shape() const { return std::get<1>(this->GetParam()); }
};

template <class Info>
std::string print_variant_case(const Info& info) {
  return row_name(std::get<0>(info.param)) + "_" + case_name(std::get<1>(info.param));
}

}  // namespace mote::kernels
