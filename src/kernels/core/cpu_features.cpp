#include "kernels/core/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#endif

namespace mote::kernels {

#if defined(__x86_64__)
namespace {

enum Register { eax, ebx, ecx, edx };

// Registers that the system must save on a switch, as bits of XCR0.
constexpr std::uint64_t kNone = 0, kVectors = 0x6, kMasks = kVectors | 0xe0, kTiles = 0x60000;

struct Feature {
  std::string_view name;
  unsigned leaf, subleaf;
  Register in;
  int bit;
  std::uint64_t state;
};

constexpr Feature kFeatures[] = {
    {"popcnt", 1, 0, ecx, 23, kNone},      {"fma", 1, 0, ecx, 12, kVectors},
    {"f16c", 1, 0, ecx, 29, kVectors},     {"bmi", 7, 0, ebx, 3, kNone},
    {"avx2", 7, 0, ebx, 5, kVectors},      {"bmi2", 7, 0, ebx, 8, kNone},
    {"avx512f", 7, 0, ebx, 16, kMasks},    {"avx512dq", 7, 0, ebx, 17, kMasks},
    {"avx512bw", 7, 0, ebx, 30, kMasks},   {"avx512vl", 7, 0, ebx, 31, kMasks},
    {"avx512vnni", 7, 0, ecx, 11, kMasks}, {"amx-bf16", 7, 0, edx, 22, kTiles},
    {"amx-tile", 7, 0, edx, 24, kTiles},   {"amx-int8", 7, 0, edx, 25, kTiles},
    {"avxvnni", 7, 1, eax, 4, kVectors},   {"avx512bf16", 7, 1, eax, 5, kMasks},
};

// XCR0, or 0 where the system does not use it.
std::uint64_t saved_state() {
  unsigned r[4] = {};
  constexpr unsigned kOsxsave = 1u << 27;
  if (!__get_cpuid(1, &r[eax], &r[ebx], &r[ecx], &r[edx]) || !(r[ecx] & kOsxsave)) return 0;
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | static_cast<std::uint64_t>(high) << 32;
}

// Linux gives tile registers to a process that asks (ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA).
bool may_use_tiles() {
  constexpr long kAsk = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kAsk, kTileData) == 0;
  return granted;
}

}  // namespace

bool has_feature(std::string_view name) {
  for (const Feature& f : kFeatures) {
    if (f.name != name) continue;
    unsigned r[4] = {};
    if (!__get_cpuid_count(f.leaf, f.subleaf, &r[eax], &r[ebx], &r[ecx], &r[edx])) return false;
    if (!(r[f.in] >> f.bit & 1u) || (saved_state() & f.state) != f.state) return false;
    return f.state != kTiles || may_use_tiles();
  }
  return false;
}
#else
bool has_feature(std::string_view) {
  return false;
}
#endif

}  // namespace mote::kernels
