// One block of a matrix product on one thread, the piece that every dense and grouped product is
// made of:
//
//   c[i, j] = finish( [c[i, j] +] sum_k a[i, k] * b[k, j] )
//
// Operands are stored row-major with unit stride along a row, in float32, bfloat16 or float16; which
// axis a stored row belongs to is the operand's choice, and stored rows can be picked by an index
// list and scaled, so that callers never copy, transpose or convert their inputs:
//   a: stored rows are i (Rows::outer) or k (Rows::inner)
//   b: stored rows are j (Rows::outer) or k (Rows::inner); instead of memory it may be a PanelSource,
//      whose W has the same rows. Panels of b exist only while a product runs, or while a kernel does
//      that makes many products with the same b.
// The finish, in this order, each part optional:
//   + what c held (accumulate), + bias[j], activation, * factor[i, j], * row_scale[i]
//
// A gated product makes two sums at once, and hidden units of them (linear/gated):
//
//   c[i, j] = unit( g = sum_k a[i, k] * gate[k, j], u = sum_k a[i, k] * b[k, j] )
//
// in float32, each sum with the bits that a product of its own has. gate and b lie in memory, of one
// type, with Rows::outer; there is no other finish.
//
// Sums run over k in increasing order in float32, in blocks of a depth that depends on the shape and
// the machine's caches; a product of few rows, and the last rows of one of fewer than
// kGemmWholeRows, sum in the lanes of vectors instead. The order never depends on threads. The reference sums in double. Precision::bf16 rounds both operands to bfloat16
// before multiplying; with AVX512-BF16 and AMX, pairs of neighbouring k are summed in float32 and
// subnormals taken as 0; elsewhere the float32 kernels multiply the rounded numbers. c must not
// overlap a, b or factor. Sizes may be 0; with k = 0 the product is 0.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/panel_source.h"
#include "kernels/core/variants.h"
#include "kernels/core/view.h"
#include "kernels/linear/gated/gated.h"

namespace mote::kernels {

enum class Rows { outer, inner };
enum class Precision { f32, bf16 };
enum class Activation { none, relu };

struct Operand {
  const void* data = nullptr;
  Index stride = 0;  // elements between stored rows
  Rows rows = Rows::outer;
  const std::int32_t* pick = nullptr;  // stored row r is row pick[r] of data; null: row r
  const float* scale = nullptr;        // stored row r times scale[r]; only with Rows::inner
  Type type = Type::f32;
  PanelSource source = {};  // instead of data, for b only
  Index first = 0;          // with a source: element 0 of the outer axis is W's `first`, in 64s
  const float* panels = nullptr;  // instead of both, for b in gemm(): made by gemm_pack_b()
};

struct Finish {
  bool accumulate = false;
  const float* bias = nullptr;  // [n]
  Activation activation = Activation::none;
  const float* factor = nullptr;  // [m, n]
  Index factor_stride = 0;
  const float* row_scale = nullptr;  // [m]

  bool any() const {
    return accumulate || bias || activation != Activation::none || factor || row_scale;
  }
};

struct Gemm {
  Index m = 0, n = 0, k = 0;
  Operand a, b;
  Operand gate;  // with memory: a gated product
  Unit unit;     // of a gated product
  float* c = nullptr;
  Index c_stride = 0;
  Finish finish;
  Precision precision = Precision::f32;

  bool gated() const { return gate.data != nullptr; }
};

void gemm(const Gemm& args, const Run& run);
// Pieces of c of at least so many rows sum as the whole does.
inline constexpr Index kGemmWholeRows = 48;
// Refuses what cannot be multiplied; gemm() and matmul() do so themselves.
void check_gemm(const Gemm& args);
// The row that gemm() would call, for callers with many blocks whose arguments are alike.
const Variant<Gemm>& gemm_variant(const Gemm& like, const Run& run);

// The part of an operand that belongs to the outer elements from `first` on; of a source, `first`
// is a multiple of 64.
Operand from_outer(Operand x, Index first);
// The part of a product that makes c[i : i + m, j : j + n].
Gemm part_of(const Gemm& whole, Index i, Index m, Index j, Index n);

std::span<const Variant<Gemm>> gemm_variants(Precision precision);

// b of a float32 product that is not gated, laid out once, for products with any m, the same n, k and run, and this
// Operand::panels. Without it every product lays b out anew.
struct GemmPackB {
  Gemm like;
  float* panels = nullptr;  // out: gemm_packed_b_floats(like)
};
Index gemm_packed_b_floats(const Gemm& like);
void gemm_pack_b(const GemmPackB& args, const Run& run);
std::span<const Variant<GemmPackB>> gemm_pack_b_variants();

}  // namespace mote::kernels
