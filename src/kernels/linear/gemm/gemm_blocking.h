// How a product is cut for the caches, and the memory that its panels take.
#pragma once

#include "kernels/linear/gemm/gemm.h"

namespace mote::kernels {

// Loops, from the outside: columns of b by `columns`, k by `depth`, rows by `rows`. Blocks of depth
// are nearly equal and multiples of 64 but the last. `depth` depends on k and the machine alone.
struct GemmBlocking {
  Index rows = 0, columns = 0, depth = 0;
};
GemmBlocking gemm_blocking(const Gemm& args);
// Whether a panel of b of so many floats stays in the L1 cache while rows of a pass it: then all rows
// of a block pass one panel before the next. Otherwise all panels pass a few rows, so that c is
// written in runs; the panels come from the L2 cache either way. Each sum is the same.
bool stays_in_l1(Index floats);

// What the vector code is given: a checked product, its blocking, and memory on 64-byte boundaries.
struct GemmBlock {
  const Gemm& product;
  GemmBlocking cut;
  float* b_panels;  // gemm_b_floats()
  float* a_panels;  // gemm_a_floats()
};
// A step is one k, or two in bfloat16; a panel of either operand is at most 48 wide, and panels are
// written whole vectors at a time.
constexpr Index gemm_b_floats(const GemmBlocking& cut) {
  return (cut.columns + 48) * (cut.depth + 32) + 1024;
}
// All panels of b, block after block in the order of the loops.
constexpr Index gemm_packed_b_floats(const GemmBlocking& cut, Index n, Index k) {
  const Index blocks = ((n + cut.columns - 1) / cut.columns) * ((k + cut.depth - 1) / cut.depth);
  return blocks * gemm_b_floats(cut);
}
constexpr Index gemm_a_floats(const GemmBlocking& cut) {
  return (cut.rows + 32) * (cut.depth + 16) + 1024;
}

// Products of at most this many rows, with k along the stored rows of both operands, sum in lanes; of
// 16-bit b more, of which half as much is read.
inline constexpr Index kFewRows = 6, kFewRowsOfHalves = 15;
bool has_few_rows(const Gemm& args);
// The rows of a for such a product where it does not read them where they lie.
constexpr Index gemm_few_rows_floats(const Gemm& args) {
  return args.m * ((args.k + 15) / 16 * 16 + 16);
}

// Products of more rows of which a is the smaller operand lay out a, by `rows`, and read b where it
// lies, by groups of `columns` (gemm_transposed.h). The sums are the same.
bool is_transposed(const Gemm& args);
GemmBlocking gemm_transposed_blocking(const Gemm& args);

struct GemmTransposed {
  const Gemm& product;
  GemmBlocking cut;
  float* a_panels;  // gemm_panels_of_a_floats()
  float* b_rows;    // gemm_rows_of_b_floats()
  float* sums;      // gemm_group_floats()
};
// All panels of a and the rows of its tail; rows of a tile of b, of at most 32; sums of a group of b
// and of gate.
constexpr Index gemm_panels_of_a_floats(const Gemm& args, const GemmBlocking& cut) {
  return (cut.rows + 48) * (args.k + 32) + 1024;
}
constexpr Index gemm_rows_of_b_floats(const Gemm& args) {
  return 32 * (args.k + 32);
}
constexpr Index gemm_group_floats(const GemmBlocking& cut) {
  return 2 * (cut.columns + 32) * (cut.rows + 32);
}

void gemm_pack_b_avx2(const GemmBlock& block);
void gemm_pack_b_avx512(const GemmBlock& block);
void gemm_avx2(const GemmBlock& block);
void gemm_avx512(const GemmBlock& block);
void gemm_bf16_avx2(const GemmBlock& block);
void gemm_bf16_avx512(const GemmBlock& block);
void gemm_bf16_avx512_bf16(const GemmBlock& block);
void gemm_bf16_amx(const GemmBlock& block);
void gemm_transposed_avx2(const GemmTransposed& block);
void gemm_transposed_avx512(const GemmTransposed& block);
void gemm_transposed_bf16_avx2(const GemmTransposed& block);
void gemm_transposed_bf16_avx512(const GemmTransposed& block);
void gemm_transposed_bf16_avx512_bf16(const GemmTransposed& block);
void gemm_transposed_bf16_amx(const GemmTransposed& block);
void gemm_few_rows_avx2(const Gemm& args, float* a_rows);
void gemm_few_rows_avx512(const Gemm& args, float* a_rows);
void gemm_few_rows_bf16_avx2(const Gemm& args, float* a_rows);
void gemm_few_rows_bf16_avx512(const Gemm& args, float* a_rows);
void gemm_few_rows_bf16_avx512_bf16(const Gemm& args, float* a_rows);

}  // namespace mote::kernels
