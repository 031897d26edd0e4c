// One block of a matrix product on one thread, the piece that every dense and grouped product is
// made of:
//
//   c[i, j] (+)= sum_k a[i, k] * b[k, j],   then the epilogue: + bias[j], then max(0, .)
//
// Operands are stored row-major with unit stride along a row; which axis a stored row belongs to is
// the operand's choice, and stored rows can be picked by an index list and scaled, so that callers
// never copy or transpose their inputs:
//   a: stored rows are i (Rows::outer) or k (Rows::inner);  b: stored rows are j (outer) or k
//   (inner).
// Sums run over k in increasing order in float32, blocks of kDepth being added to c one after
// another; a product of few rows sums in the lanes of a vector instead. Either way the order
// depends on the shape alone. The reference sums in double. Precision::bf16 rounds both operands to
// bfloat16 before multiplying and sums pairs of neighbouring k in float32, subnormals taken as 0. c
// must not overlap a or b. Sizes may be 0; with k = 0 the product is 0.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

enum class Rows { outer, inner };
enum class Precision { f32, bf16 };

struct Operand {
  const float* data = nullptr;
  Index stride = 0;  // elements between stored rows
  Rows rows = Rows::outer;
  const std::int32_t* pick = nullptr;  // stored row r is row pick[r] of data; null: row r
  const float* scale =
      nullptr;  // stored row r is multiplied by scale[r]; only with Rows::inner; null: 1
};

struct Gemm {
  Index m = 0, n = 0, k = 0;
  Operand a, b;
  float* c = nullptr;
  Index c_stride = 0;
  bool accumulate = false;
  const float* bias = nullptr;  // [n] or null
  bool relu = false;
  Precision precision = Precision::f32;
};

void gemm(const Gemm& args, const Run& run);
// The row that gemm() would call, for callers with many blocks.
const Variant<Gemm>& gemm_variant(const Gemm& like, const Run& run);

std::span<const Variant<Gemm>> gemm_variants(Precision precision);

void gemm_avx2(const Gemm& args, float* scratch);
void gemm_avx512(const Gemm& args, float* scratch);
void gemm_avx512_bf16(const Gemm& args, float* scratch);

}  // namespace mote::kernels
