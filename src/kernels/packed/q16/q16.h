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

#include <string>
#include <vector>

#include "base/parallel.h"
#include "kernels/packed/q16/q16_matrix.h"

namespace mote::kernels {

// children[9 * node + first + 3 * second]: the codeword that is `node`'s followed by that pair, or
// -1; node kQ16Entries is the root.
const std::int32_t* q16_trie();

// E stacked matrices. `columns` is not stored: it comes from the model's description.
struct Q16Experts {
  Index columns = 0;
  View<const std::uint16_t, 1> codes_N;
  View<const std::uint64_t, 1> offsets_E1;
  View<const std::uint32_t, 2> row_base_EG;
  View<const std::uint16_t, 2> row_start_ER;
  View<const Bf16, 3> levels_ER2;

  [[gnu::always_inline]] Index experts() const { return row_start_ER.size(0); }
  [[gnu::always_inline]] Index rows() const { return row_start_ER.size(1); }
  [[gnu::always_inline]] Q16Matrix expert(Index e) const {
    const Index begin = static_cast<Index>(offsets_E1(e));
    return {rows(),
            columns,
            static_cast<Index>(offsets_E1(e + 1)) - begin,
            q16_group_rows(columns),
            codes_N.data + begin,
            row_base_EG.row(e),
            row_start_ER.row(e),
            levels_ER2.data + e * levels_ER2.stride(0)};
  }
};

// Throws a file error that names `name`, the part and the two values that disagree unless every
// offset is in range, every row decodes to exactly `columns` trits and levels are finite with
// minimum <= 0 <= maximum. What passes can be used without further checks.
void validate(const Q16Experts& w, const std::string& name, const Executor& executor = serial());

// Every bit of the stored form.
std::uint64_t num_bits(const Q16Experts& w);

// Codewords of one row; returns how many. `codes` has room for (columns + 1) / 2. Trits are 0..2.
Index q16_encode_row(const std::uint8_t* trits, Index columns, std::uint16_t* codes);
// Trits of row `row` of a valid matrix.
void q16_decode_row(const Q16Matrix& w, Index row, std::uint8_t* trits);

// The owner of a stored form, as encoding makes it.
struct Q16Encoded {
  Index columns = 0, experts = 0, rows = 0;
  std::vector<std::uint16_t> codes;
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint32_t> row_base;
  std::vector<std::uint16_t> row_start;
  std::vector<Bf16> levels;

  Q16Experts view() const;
};

// Encodes E matrices of trits. levels are copied; a minimum or maximum that is 0 needs no trit 1 or
// 2, and those that have one are stored as 0, which is shorter and the same matrix.
Q16Encoded q16_encode(View<const std::uint8_t, 3> trits_ERC, View<const Bf16, 3> levels_ER2,
                      const Executor& executor = serial());

}  // namespace mote::kernels
