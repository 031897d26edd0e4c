// Adam on some rows of a table (arXiv 1412.6980; decoupled decay as in 1711.05101; specs/peer.md 4.5):
// p is the table, m and v are its moments, of the same shape.
//
// adam_rows, with the gradients g of rows row[0], row[1], ..., each once:
//   p := decay p
//   m := beta1 m + (1 - beta1) f g,  v := beta2 v + (1 - beta2) (f g)^2
//   p := p - rate m / (root sqrt(v) + epsilon)       f clips, rate = lr / (1 - beta1^t),
//                                                    root = 1 / sqrt(1 - beta2^t)
// move_rows, steps without a gradient that a row has missed, all at once:
//   p := decay p - rate m / (sqrt(v) + epsilon),  m := mean m,  v := square v
// of each row's own factors. One epsilon stands for those of the steps missed.
//
// All float32, unit stride, rows in [0, N), which is the caller's to check.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct AdamTable {
  View<float, 2> value_ND, mean_ND, square_ND;
};

struct AdamRows {
  AdamTable table;
  View<const std::int64_t, 1> row_R;
  View<const float, 2> grad_RD;
  float factor = 1, decay = 1, rate = 0, root = 1;
  float beta1 = 0, beta2 = 0, epsilon = 0;
};
void adam_rows(const AdamRows& args, const Run& run);
std::span<const Variant<AdamRows>> adam_rows_variants();
void adam_rows_avx2(const AdamRows& args, const Run& run);
void adam_rows_avx512(const AdamRows& args, const Run& run);

struct RowMove {
  float decay, rate, epsilon, mean, square;
};
struct MoveRows {
  AdamTable table;
  View<const std::int64_t, 1> row_R;
  const RowMove* move = nullptr;  // [R]
};
void move_rows(const MoveRows& args, const Run& run);
std::span<const Variant<MoveRows>> move_rows_variants();
void move_rows_avx2(const MoveRows& args, const Run& run);
void move_rows_avx512(const MoveRows& args, const Run& run);

}  // namespace mote::kernels
