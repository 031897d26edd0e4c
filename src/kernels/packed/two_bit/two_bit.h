// Two-bit matrices on a grid per row: value = scale * (code - zero).
//
// Stored form of E stacked matrices [rows, columns], in tiles of 16 rows x 16 columns, 64 bytes
// each:
//   codes   u8 [E, P, G, 64]  P = ceil(rows / 16) panels of G = ceil(columns / 16) tiles. Row r and
//                             column c of a tile are at bits 2 (c / 4) of byte 4 r + c mod 4; codes
//                             beyond the last row or column are 0
//   scales  bf16 [E, rows]    finite
//   zeros   u8 [E, rows]      0..3, the code of the value 0
// One vector load is 8 or 16 rows: in 32-bit lanes, two bits down the lane are a column, and after
// a shift by 2 s and a mask the four bytes of a lane are columns 4 s to 4 s + 3, as products of
// bytes want them. No sum runs across lanes.
//
// Files of format_version 1 hold codes as u8 [E, rows, B], B = ceil(columns / 4), column 4 b + i at
// bits 2 i of byte b of its row, unused bits 0.
#pragma once

#include "kernels/packed/coder.h"
#include "kernels/packed/two_bit/two_bit_matrix.h"

namespace mote::kernels {

extern const Coder kTwoBit;

// Expert e of a stack with this coder.
TwoBitMatrix two_bit_expert(const PackedMatrices& w, Index e);

// The rows of the coder's tables (two_bit_product.cpp).
Variants two_bit_product_variants();
Variants two_bit_int8_variants();
Variants two_bit_to_input_variants();

}  // namespace mote::kernels
