// Activations rounded to 8 bits, row by row: s = max |x| / 127, x8 = round(x / s), half to even;
// all 0 where s is 0.
//
// Coders of blocks round groups of kInt8Group columns so (block_rows/); the rest is of whole rows. Few
// groups, those with outliers, hold most of what rounding leaves: of groups with
//   s^2 > kResidualShare * the row's mean of s^2
// the residual x - s x8 is rounded to 8 bits too, with a scale of its own, and multiplied too.
//
// In memory, per row: what Int8Row says, then x8, zeros behind it up to a multiple of 64 columns.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

struct alignas(64) Int8Row {
  float scale = 0;
  std::int32_t sum = 0;  // of x8
};
static_assert(sizeof(Int8Row) == 64);

[[gnu::always_inline]] constexpr Index int8_row_bytes(Index columns) {
  return 64 + (columns + 63) / 64 * 64;
}
[[gnu::always_inline]] inline const Int8Row& int8_row(const std::byte* layout, Index columns,
                                                      Index token) {
  return *reinterpret_cast<const Int8Row*>(layout + token * int8_row_bytes(columns));
}
[[gnu::always_inline]] inline const std::int8_t* int8_values(const Int8Row& row) {
  return reinterpret_cast<const std::int8_t*>(&row + 1);
}

constexpr std::size_t kInt8Group = 32;
constexpr float kResidualShare = 8;

// Of a group with this scale in a row of so many.
[[gnu::always_inline]] inline bool has_residual(float scale, Index groups, float sum_of_squares) {
  return scale * scale * static_cast<float>(groups) > kResidualShare * sum_of_squares;
}

// Where such rows are multiplied on tiles: tokens of a chunk, all of which what is filled of a panel
// serves, and bytes of a block's panels and sums.
constexpr Index kInt8TileTokens = 256;
constexpr Index kInt8PanelBytes = 128 << 10;

// The definition; x8 has room for `columns`.
float rounded_to_int8(const float* x, Index columns, std::int8_t* x8);
// The definition of rows in groups, columns a multiple of kInt8Group: the values multiplied.
void rounded_in_groups(const float* x, Index columns, double* values);

}  // namespace mote::kernels
