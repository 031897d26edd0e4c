// What tests of variant tables share: every row with every case, skipped aloud where the processor
// lacks it, named in words ("avx2_tokens5_slots2").
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "kernels/core/variants.h"

namespace mote::kernels {

template <class Args, class Case>
class VariantTest : public ::testing::TestWithParam<std::tuple<Variant<Args>, Case>> {
 protected:
  void SetUp() override {
    const Isa isa = std::get<0>(this->GetParam()).isa;
    if (!supported(isa)) GTEST_SKIP() << "no " << name(isa) << " here";
  }
};

template <class Info>
std::string print_variant_case(const Info& info) {
  return std::string(name(std::get<0>(info.param).isa)) + "_" + case_name(std::get<1>(info.param));
}

}  // namespace mote::kernels
