#include "kernels/core/variants.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/check.h"
#include "base/nearest.h"

namespace mote::kernels {
namespace {

#if defined(__x86_64__)
// Tiles with int8 and bfloat16 products, which __builtin_cpu_supports does not know.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25, kBf16 = 1u << 22;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTile) && (d & kInt8) && (d & kBf16);
}
#endif

bool detect(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::reference:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    case Isa::amx:
      return avx512 && has_amx();
  }
  return false;
#else
  return isa == Isa::reference;
#endif
}

constexpr Isa kAll[] = {Isa::reference,   Isa::avx2,        Isa::avx512,
                        Isa::avx512_vnni, Isa::avx512_bf16, Isa::amx};

}  // namespace

const char* name(Isa isa) {
  constexpr const char* kNames[] = {"reference",   "avx2",        "avx512",
                                    "avx512_vnni", "avx512_bf16", "amx"};
  return kNames[static_cast<int>(isa)];
}

const char* family(Isa isa) {
  return name(isa == Isa::avx512_vnni || isa == Isa::avx512_bf16 ? Isa::avx512 : isa);
}

bool supported(Isa isa) {
  static const auto found = [] {
    std::vector<bool> here(static_cast<std::size_t>(Isa::amx) + 1);
    for (Isa each : kAll) here[static_cast<std::size_t>(each)] = detect(each);
    return here;
  }();
  return found[static_cast<std::size_t>(isa)];
}

Isa best_isa() {
  Isa best = Isa::reference;
  for (Isa isa : kAll)
    if (supported(isa)) best = isa;
  return best;
}

std::vector<Isa> compiled_isas() {
  return {
    Isa::reference,
#if MOTE_WITH_AVX2
        Isa::avx2,
#endif
#if MOTE_WITH_AVX512
        Isa::avx512, Isa::avx512_bf16,
#endif
  };
}

Isa ceiling_named(const std::string& text) {
  struct Name {
    const char* text;
    Isa needed, ceiling;
  };
  constexpr Name kNames[] = {{"reference", Isa::reference, Isa::reference},
                             {"avx2", Isa::avx2, Isa::avx2},
                             {"avx512", Isa::avx512, Isa::avx512_bf16},
                             {"amx", Isa::amx, Isa::amx}};
  std::vector<std::string> known;
  for (const Name& each : kNames) {
    known.push_back(each.text);
    if (text != each.text) continue;
    if (!supported(each.needed))
      throw Error(ErrorKind::unsupported,
                  concat("--isa ", text, ": this processor offers ", family(best_isa()),
                         " at best; choose that or a lower one"))
          .at("--isa");
    return each.ceiling;
  }
  throw Error(ErrorKind::usage, concat("--isa ", text, ": not one of reference, avx2, avx512, amx",
                                       did_you_mean(text, known)))
      .at("--isa");
}

}  // namespace mote::kernels
