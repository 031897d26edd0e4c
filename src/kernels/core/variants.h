// One operation, several implementations: which exist, which this machine can run, which is chosen.
//
// Every operation has a table of rows, slowest first: {Isa, function}. select() takes the last row
// that is at or under the caller's ceiling and that this processor can run. The reference is always
// the first row.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"

namespace mote::kernels {

// Instruction sets, in the order of preference. The AVX-512 kin count as `avx512` for `--isa`.
enum class Isa { reference, avx2, avx512, avx512_vnni, avx512_bf16, amx };

const char* name(Isa isa);
// The name that `--isa` has for it: that of the AVX-512 kin is avx512.
const char* family(Isa isa);
// Whether this processor (and system) can run it.
bool supported(Isa isa);
// The best that is supported here.
Isa best_isa();
// All that this build has code for.
std::vector<Isa> compiled_isas();
// The ceiling that `--isa TEXT` means: reference, avx2, avx512 (and its kin), amx. Throws `usage`
// for another name and `unsupported` for one that this processor lacks.
Isa ceiling_named(const std::string& text);

// How a call is to be run: what it may use.
struct Run {
  Isa ceiling = Isa::amx;
  const Executor* executor = &serial();
};

template <class Args>
struct Variant {
  Isa isa;
  void (*call)(const Args&, const Run&);
};

template <class Args>
const Variant<Args>& select(std::span<const Variant<Args>> rows, const Run& run) {
  const Variant<Args>* chosen = &rows.front();
  for (const Variant<Args>& row : rows)
    if (row.isa <= run.ceiling && supported(row.isa)) chosen = &row;
  return *chosen;
}

}  // namespace mote::kernels
