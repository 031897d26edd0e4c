// Rounding matrices to a grid per row: to the nearest point, or error-corrected (GPTQ, arXiv
// 2210.17323, batched over experts as in QMoE, arXiv 2310.16795).
//
// Grids of a row w, with mn = min(0, min w) and mx = max(0, max w), or -1 and 1 if both are 0:
//   ternary   {mn, 0, mx}: mx where w > mx / 2, mn where w < mn / 2, else 0 (ties go to 0).
//             Levels (mn, mx); symbols 0 for zero, 1 for mn, 2 for mx. A level of 0 is symbol 0.
//   two_bit   s = (mx - mn) / 3, z = round(-mn / s), code q = clamp(round(w / s) + z, 0, 3), value
//             s (q - z); round is half to even. Levels (s, z); symbols are the codes.
// All of this in float32, so that every function here takes the same decisions.
//
// Error-corrected rounding minimises e' H e per row for the errors e of a row and the damped second
// moments H of its inputs. With H^-1 = U' U and U upper triangular, column after column:
//   q_i = round(w_i),  e_i = (w_i - q_i) / U_ii,  w_j -= e_i U_ij for j > i;  objective sum e_i^2,
// which is the diagonal of (W - Q) H (W - Q)'. Scaling H changes nothing. If U is diagonal it is
// rounding to nearest, in every bit.
#pragma once

#include <span>

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

enum class Grid { ternary, two_bit };

// The grid of every row. `stored` rounds mn, mx and s to bfloat16 first, as files hold them, so
// that rounding sees the levels that will be used; s and what follows from it then use that value.
// Throws a numeric error that names expert and row where a weight is not finite.
struct RowLevels {
  View<const float, 3> w_ERC;
  Grid grid = Grid::ternary;
  bool stored = true;
  View<float, 3> levels_ER2;  // out
};
void row_levels(const RowLevels& args, const Run& run);

struct RoundToNearest {
  View<const float, 3> w_ERC;
  Grid grid = Grid::ternary;
  View<const float, 3> levels_ER2;
  View<std::uint8_t, 3> symbols_ERC;  // out
};
void round_to_nearest(const RoundToNearest& args, const Run& run);
std::span<const Variant<RoundToNearest>> round_to_nearest_variants();

// Rows do not depend on each other: work is cut by expert and block of rows. Columns are taken in
// blocks, the columns behind a block are corrected when it is done; the size of the blocks changes
// results by rounding only. The reference goes column by column in double.
struct Gptq {
  View<const float, 3> w_ERC;
  View<const float, 3> u_ECC;  // upper; what is below the diagonal is not read
  Grid grid = Grid::ternary;
  View<const float, 3> levels_ER2;
  View<std::uint8_t, 3> symbols_ERC;  // out
  View<float, 2> objective_ER;        // out: sum_i e_i^2
  View<std::byte, 1> scratch;         // gptq_scratch(C, threads of the executor) bytes
  Index block_columns = 128;          // 1 to 128
};
// Refuses a U whose diagonal is not positive and finite. Throws a numeric error that names expert
// and row where the objective is not finite.
void gptq(const Gptq& args, const Run& run);
std::span<const Variant<Gptq>> gptq_variants();
Index gptq_scratch(Index columns, int threads);

// What a symbol stands for.
float grid_value(Grid grid, const float* levels, std::uint8_t symbol);

}  // namespace mote::kernels
