// One operation, several implementations: which exist, which this machine can run, which is chosen.
//
// Every operation has a table of rows, slowest first: {Isa, function}. select() takes the last row
// that is at or under the caller's ceiling and that this processor can run. The reference is always
// the first row.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "kernels/core/isa_table.h"

namespace mote::kernels {

// One word: avx2_vnni.
const char* name(Isa isa);
// The word of `--isa` that reaches it: avx512 for the AVX-512 kin.
const char* family(Isa isa);
// Whether this processor and system can run it.
bool supported(Isa isa);
// The best that is supported here.
Isa best_isa();
// Every row of the table, for tests: what a machine lacks is skipped aloud.
std::vector<Isa> all_isas();
// All that this build has code for.
std::vector<Isa> compiled_isas();
// The ceiling that `--isa TEXT` means: the last row with that word. Throws `usage` for another word
// and `unsupported` for one that this processor lacks.
Isa ceiling_named(const std::string& text);

// How a call is to be run: what it may use, and who counts its work.
struct Run {
  Isa ceiling = Isa::amx;
  const Executor* executor = &serial();
  // Sums up the multiply-adds of products with matrices, keys, rows of tables and, of attention, with
  // the keys and values that are seen; null: nobody counts.
  std::atomic<std::int64_t>* multiply_adds = nullptr;

  void count(std::int64_t more) const {
    if (multiply_adds) *multiply_adds += more;
  }
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
