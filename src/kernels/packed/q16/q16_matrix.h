// One q16 matrix in memory: what the products read. The format is described in q16.h.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/view.h"

namespace mote::kernels {

constexpr Index kQ16Entries = 65536;
constexpr Index kQ16MostPairs = 14;

// The dictionary in the form that products read, one u32 per codeword, 256 KiB:
//   bytes 0, 1, 2   4 * column offset + trit of the first, second, third nonzero trit; 0 where
//                   there are fewer
//   byte 3          number of columns, twice that of pairs
// Computed at first use, in IEEE doubles exactly as the spec of the code says.
const std::uint32_t* q16_entries();

[[gnu::always_inline]] inline Index q16_width(std::uint32_t entry) {
  return entry >> 24;
}

// Rows that share a base: the largest power of two up to 16 for which row_start cannot overflow
// when every pair of every row takes a codeword of its own.
[[gnu::always_inline]] constexpr int q16_group_shift(Index columns) {
  int shift = 4;
  while (((Index{1} << shift) - 1) * ((columns + 1) / 2) > 65535) --shift;
  return shift;
}
[[gnu::always_inline]] constexpr Index q16_group_rows(Index columns) {
  return Index{1} << q16_group_shift(columns);
}
[[gnu::always_inline]] constexpr Index q16_num_groups(Index rows, Index columns) {
  const Index group = q16_group_rows(columns);
  return (rows + group - 1) / group;
}

// One matrix, by pointers into the stored form.
struct Q16Matrix {
  Index rows = 0, columns = 0;
  Index num_codes = 0;
  int group_shift = 4;  // rows that share a base, as a power of two
  const std::uint16_t* codes = nullptr;
  const std::uint32_t* row_base = nullptr;
  const std::uint16_t* row_start = nullptr;
  const Bf16* levels = nullptr;
  const std::uint32_t* entries = nullptr;  // q16_entries()

  [[gnu::always_inline]] Index row_begin(Index row) const {
    return Index{row_base[row >> group_shift]} + row_start[row];
  }
  [[gnu::always_inline]] Index row_end(Index row) const {
    return row + 1 < rows ? row_begin(row + 1) : num_codes;
  }
  [[gnu::always_inline]] float minimum(Index row) const { return from_bf16(levels[2 * row]); }
  [[gnu::always_inline]] float maximum(Index row) const { return from_bf16(levels[2 * row + 1]); }
};

}  // namespace mote::kernels
