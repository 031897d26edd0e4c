// q16: ternary matrices as 16-bit codewords of varying length, below one bit per weight (QMoE,
// arXiv 2310.16795, section 3: the published dictionary; the stored form is ours).
//
// A trit is 0 (zero), 1 (the row's minimum) or 2 (the row's maximum). A codeword stands for 1 to 14
// pairs of neighbouring trits of one row, with at most 3 that are not zero. A row is parsed
// greedily, longest match first, which is optimal for this dictionary. In a row of odd width the
// last pair is (trit, 0).
//
// Stored form of E stacked matrices [rows, columns], all little-endian:
//   codes      u16 [N]         the codewords of expert 0's row 0, row 1, ..., expert 1's row 0, ...
//   offsets    u64 [E + 1]     where each expert's codewords start in `codes`; the last is N
//   row_base   u32 [E, G]      per group of rows: where its codewords start within the expert
//   row_start  u16 [E, rows]   where a row's codewords start, counted from its group's base
//   levels     bf16 [E, rows, 2]   minimum <= 0 and maximum >= 0 of the row
// A group has q16_group_rows(columns) rows: 16 up to 8738 columns, fewer above, so that row_start
// always fits; G = ceil(rows / group). A row ends where the next one starts, the last one at the
// expert's end. At 16 rows per group that is 50 bits of description per row; QMoE's files spend 64.
#pragma once

#include "kernels/packed/coder.h"
#include "kernels/packed/q16/q16_matrix.h"

namespace mote::kernels {

// Encoding stores a trit whose level is 0 as trit 0, which is shorter and the same matrix.
extern const Coder kQ16;
enum Q16Part : std::size_t {
  kQ16Codes,
  kQ16Offsets,
  kQ16RowBase,
  kQ16RowStart,
  kQ16Levels,
};

// Expert e of a stack with this coder.
Q16Matrix q16_expert(const PackedMatrices& w, Index e);

constexpr Index kQ16Pairs = 9;  // of two trits: first + 3 * second
// children[9 * node + pair]: the codeword that is `node`'s followed by that pair, or -1; node
// kQ16Entries is the root.
const std::int32_t* q16_trie();

// Calls add(column, trit) for each trit of a row that is not 0.
template <class Add>
void q16_for_each_trit(const Q16Matrix& w, Index row, const Add& add) {
  Index base = 0;
  for (Index i = w.row_begin(row); i < w.row_end(row); ++i) {
    const std::uint32_t entry = w.entries[w.codes[i]];
    for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8)
      add(base + ((slots & 0xff) >> 2), slots & 3);
    base += q16_width(entry);
  }
}

// Codewords of one row; returns how many. `codes` has room for (columns + 1) / 2. Trits are 0..2.
Index q16_encode_row(const std::uint8_t* trits, Index columns, std::uint16_t* codes);
// Trits of row `row` of a valid matrix.
void q16_decode_row(const Q16Matrix& w, Index row, std::uint8_t* trits);

// The rows of the coder's tables (q16_product.cpp).
Variants q16_product_variants();
Variants q16_int8_variants();
Variants q16_to_input_variants();

}  // namespace mote::kernels
