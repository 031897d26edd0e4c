#include "kernels/core/variants.h"

#include <gtest/gtest.h>

#include <fstream>
#include <span>
#include <string>

#include "base/check.h"
#include "kernels/core/cpu_features.h"

namespace mote::kernels {
namespace {

TEST(Isas, ThatAreSupportedIncludeTheirBase) {
  for (const IsaRow& row : kIsaRows)
    if (supported(row.isa)) {
      EXPECT_TRUE(supported(row.base)) << row.name;
    }
  EXPECT_TRUE(supported(Isa::reference));
}

// The system's list leaves out what it did not switch on. (An emulator shows its host's list.)
TEST(Isas, AreAmongThoseThatTheSystemReports) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && line.rfind("flags", 0) != 0) continue;
  if (!file) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  line += " ";
  struct Pair {
    const char *feature, *reported;
  };
  for (const Pair& each : {Pair{"avx2", "avx2"},
                           {"avxvnni", "avx_vnni"},
                           {"avx512f", "avx512f"},
                           {"avx512vnni", "avx512_vnni"},
                           {"avx512bf16", "avx512_bf16"},
                           {"amx-tile", "amx_tile"},
                           {"amx-int8", "amx_int8"},
                           {"amx-bf16", "amx_bf16"}}) {
    if (!has_feature(each.feature)) continue;
    EXPECT_NE(line.find(std::string(" ") + each.reported + " "), std::string::npos) << each.feature;
  }
  EXPECT_FALSE(has_feature("sse9"));
}

#if defined(__x86_64__)
TEST(Isas, AreThoseThatTheCompilersRuntimeFinds) {
  __builtin_cpu_init();
  EXPECT_EQ(has_feature("popcnt"), __builtin_cpu_supports("popcnt") != 0);
  EXPECT_EQ(has_feature("bmi2"), __builtin_cpu_supports("bmi2") != 0);
  EXPECT_EQ(has_feature("avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(has_feature("fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(has_feature("avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(has_feature("avx512bw"), __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(has_feature("avx512dq"), __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ(has_feature("avx512vl"), __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(has_feature("avx512vnni"), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(has_feature("avx512bf16"), __builtin_cpu_supports("avx512bf16") != 0);
}
#endif

TEST(Isas, CeilingIsTheLastRowWithTheWord) {
  EXPECT_EQ(ceiling_named("reference"), Isa::reference);
  if (supported(Isa::avx2)) {
    EXPECT_EQ(ceiling_named("avx2"), Isa::avx2);
  }
  if (supported(Isa::avx512)) {
    EXPECT_EQ(ceiling_named("avx512"), Isa::avx512_bf16);
  }
  if (supported(Isa::amx)) {
    EXPECT_EQ(ceiling_named("amx"), Isa::amx);
  }
}

TEST(Isas, NeitherUnknownNorMissingOnesAreTaken) {
  EXPECT_THROW(ceiling_named("avx3"), Error);
  for (const IsaRow& row : kIsaRows)
    if (!supported(row.isa) && std::string(row.name) == row.word) {
      EXPECT_THROW(ceiling_named(row.word), Error) << row.word;
    }
}

TEST(Isas, SelectStopsAtTheCeiling) {
  const Variant<int> rows[] = {{Isa::reference, nullptr}, {Isa::avx2, nullptr}};
  const std::span<const Variant<int>> table(rows);
  EXPECT_EQ(select(table, {Isa::reference}).isa, Isa::reference);
  EXPECT_EQ(select(table, {}).isa, supported(Isa::avx2) ? Isa::avx2 : Isa::reference);
}

}  // namespace
}  // namespace mote::kernels
