// Adam on some rows of a table (arXiv 1412.6980; decoupled decay as in 1711.05101; specs/peer.md 4.5):
// p is the table, m and v are its moments, of the same shape, or v one number for each row.
//
// adam_rows, with the gradients g of rows row[0], row[1], ..., each once:
//   p := decay p
//   m := beta1 m + (1 - beta1) f g,  v := beta2 v + (1 - beta2) (f g)^2      f clips
//   p := p - rate m / (root sqrt(v) + epsilon)
// with rate = lr / (1 - beta1^t) and root = 1 / sqrt(1 - beta2^t), of all rows or of each its own. With
// one v for a row, (f g)^2 is the mean over the row.
// move_rows, steps without a gradient that a row has missed, all at once:
//   p := decay p - rate m / (sqrt(v) + epsilon),  m := mean m,  v := square v
// of each row's own factors. One epsilon stands for those of the steps missed.
//
// Arithmetic is float32. What is stored as bfloat16 is rounded up or down at random, with the chances
// that keep its mean (changes of less than half a unit would be lost to rounding to nearest):
//   bits := (bits of float32 + 16 of row_noise(key, row, column)) >> 16
// Rows have unit stride and lie in [0, rows), which is the caller's to check.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct RowStore {
  void* data = nullptr;
  Index stride = 0;       // elements
  Type type = Type::f32;  // or bf16
};

struct AdamTable {
  Index rows = 0, columns = 0;
  RowStore value, mean, square;  // both moments of one type, unless
  bool row_square = false;       // square is one float32 for each row
};

struct AdamStep {
  float rate = 0, root = 1, epsilon = 0;
};

struct AdamRows {
  AdamTable table;
  View<const std::int64_t, 1> row_R;
  View<const float, 2> grad_RD;
  const AdamStep* step = nullptr;  // [R], or one
  bool own_steps = false;          // whether each row has its own
  float factor = 1, decay = 1, beta1 = 0, beta2 = 0;
  std::uint32_t key = 0;
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
  std::uint32_t key = 0;
};
void move_rows(const MoveRows& args, const Run& run);
std::span<const Variant<MoveRows>> move_rows_variants();
void move_rows_avx2(const MoveRows& args, const Run& run);
void move_rows_avx512(const MoveRows& args, const Run& run);

// 32 bits that depend on all of (key, row, column): the low 16 are the table's, the high 16 the mean's,
// and the low 16 of ~key's the square's. A multiplicative hash; every instruction set has the same.
inline constexpr std::uint32_t kNoiseRow = 0x9E3779B1, kNoiseColumn = 0x85EBCA6B;
inline constexpr std::uint32_t kNoiseMix[2] = {0x7FEB352D, 0x846CA68B};
[[gnu::always_inline]] inline std::uint32_t row_noise(std::uint32_t key, Index row, Index column) {
  std::uint32_t x = (static_cast<std::uint32_t>(row) * kNoiseRow ^ key) +
                    static_cast<std::uint32_t>(column) * kNoiseColumn;
  x = (x ^ x >> 16) * kNoiseMix[0];
  x = (x ^ x >> 15) * kNoiseMix[1];
  return x ^ x >> 16;
}

}  // namespace mote::kernels
