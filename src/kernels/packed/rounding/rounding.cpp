#include "kernels/packed/rounding/rounding.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/core/aligned.h"
#include "kernels/core/dtype.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/packed/rounding/rounding_block.h"

namespace mote::kernels {
namespace {

std::uint8_t symbol_of(Grid grid, const float* levels, float w) {
  if (grid == Grid::ternary) {
    if (levels[1] > 0 && w > levels[1] / 2) return 2;
    return levels[0] < 0 && w < levels[0] / 2 ? 1 : 0;
  }
  const float code = std::nearbyint(w / levels[0]) + levels[1];
  return code > 0 ? static_cast<std::uint8_t>(std::min(code, 3.0f)) : 0;  // 0 for NaN too
}

void levels_of_row(const float* w, Index columns, Grid grid, bool stored, float* levels) {
  const auto keep = [&](float level) { return stored ? from_bf16(to_bf16(level)) : level; };
  float low = 0, high = 0;
  for (Index c = 0; c < columns; ++c) low = std::min(low, w[c]), high = std::max(high, w[c]);
  const bool flat = low == 0 && high == 0;
  if (grid == Grid::ternary) {
    levels[0] = flat ? -1 : keep(low);
    levels[1] = flat ? 1 : keep(high);
    return;
  }
  const double range = flat ? 2 : static_cast<double>(high) - static_cast<double>(low);
  float scale = keep(static_cast<float>(range / 3));
  if (scale == 0) scale = 1;  // a row below the smallest scale: all its codes are the zero
  const double zero = static_cast<double>(flat ? -1 : low) / -static_cast<double>(scale);
  levels[0] = scale;
  levels[1] = static_cast<float>(std::clamp(std::nearbyint(zero), 0.0, 3.0));
}

bool all_finite(const float* w, Index columns) {
  // x - x is 0 for finite x and NaN otherwise.
  float sum = 0;
  for (Index c = 0; c < columns; ++c) sum += w[c] - w[c];
  return sum == 0;
}

void round_reference(const RoundToNearest& args, const Run&) {
  const auto& w = args.w_ERC;
  for (Index e = 0; e < w.size(0); ++e)
    for (Index r = 0; r < w.size(1); ++r)
      for (Index c = 0; c < w.size(2); ++c)
        args.symbols_ERC(e, r, c) = symbol_of(args.grid, &args.levels_ER2(e, r, 0), w(e, r, c));
}

void gptq_reference(const Gptq& args, const Run&) {
  const auto& w = args.w_ERC;
  const Index columns = w.size(2);
  double* row = reinterpret_cast<double*>(aligned(args.scratch.data));
  for (Index e = 0; e < w.size(0); ++e)
    for (Index r = 0; r < w.size(1); ++r) {
      const float* levels = &args.levels_ER2(e, r, 0);
      for (Index c = 0; c < columns; ++c) row[c] = static_cast<double>(w(e, r, c));
      double objective = 0;
      for (Index i = 0; i < columns; ++i) {
        const std::uint8_t symbol = symbol_of(args.grid, levels, static_cast<float>(row[i]));
        const double value = static_cast<double>(grid_value(args.grid, levels, symbol));
        const double error = (row[i] - value) / static_cast<double>(args.u_ECC(e, i, i));
        for (Index j = i + 1; j < columns; ++j)
          row[j] -= error * static_cast<double>(args.u_ECC(e, i, j));
        args.symbols_ERC(e, r, i) = symbol;
        objective += error * error;
      }
      args.objective_ER(e, r) = static_cast<float>(objective);
    }
}

// Floats of one worker: a block of rows and its corrections.
Index worker_floats(Index columns) {
  const Index floats = kGptqRows * (columns + kGptqColumns);
  return (floats + 15) / 16 * 16;
}

struct Worker {
  float* w_RC;
  float* corrections_CR;
};

Worker worker_scratch(std::byte* scratch, Index columns, int worker) {
  float* corrections = reinterpret_cast<float*>(aligned(scratch)) + worker * worker_floats(columns);
  return {corrections + kGptqColumns * kGptqRows, corrections};
}

// Rows [first, first + count) of one expert.
void gptq_rows(const Gptq& args, Index e, Index first, Index count, const Worker& scratch,
               const Run& serial_run, void (*block)(const GptqBlock&)) {
  const Index columns = args.w_ERC.size(2);
  for (Index r = 0; r < count; ++r)
    std::copy_n(&args.w_ERC(e, first + r, 0), columns, scratch.w_RC + r * columns);
  float objective[kGptqRows] = {};
  for (Index a = 0; a < columns; a += args.block_columns) {
    const Index width = std::min(args.block_columns, columns - a), b = a + width;
    const float* u = &args.u_ECC(e, a, a);
    block({{scratch.w_RC + a, {count, width}, {columns, 1}},
           u,
           args.u_ECC.stride(1),
           args.grid,
           {&args.levels_ER2(e, first, 0), {count, 2}, {args.levels_ER2.stride(1), 1}},
           {&args.symbols_ERC(e, first, a), {count, width}, {args.symbols_ERC.stride(1), 1}},
           scratch.corrections_CR,
           objective});
    Gemm behind;  // W[:, b:] += (-E) U[a:b, b:]
    behind.m = count;
    behind.n = columns - b;
    behind.k = width;
    behind.a = {.data = scratch.corrections_CR, .stride = kGptqRows, .rows = Rows::inner};
    behind.b = {.data = u + width, .stride = args.u_ECC.stride(1), .rows = Rows::inner};
    behind.c = scratch.w_RC + b;
    behind.c_stride = columns;
    behind.finish.accumulate = true;
    if (behind.n > 0) gemm(behind, serial_run);
  }
  for (Index r = 0; r < count; ++r) args.objective_ER(e, first + r) = objective[r];
}

// Unused in a build without vector variants.
[[maybe_unused]] void gptq_in_blocks(const Gptq& args, const Run& run, Isa isa,
                                     void (*block)(const GptqBlock&)) {
  const Index rows = args.w_ERC.size(1), columns = args.w_ERC.size(2);
  const Index blocks = (rows + kGptqRows - 1) / kGptqRows;
  parallel_for(*run.executor, args.w_ERC.size(0) * blocks, [&](Index item, int worker) {
    const Index first = item % blocks * kGptqRows;
    gptq_rows(args, item / blocks, first, std::min(kGptqRows, rows - first),
              worker_scratch(args.scratch.data, columns, worker), {.ceiling = isa}, block);
  });
}

[[maybe_unused]] void round_in_rows(const RoundToNearest& args, const Run& run,
                                    void (*row)(const RoundRow&)) {
  constexpr Index kRows = 16;
  const auto& w = args.w_ERC;
  const Index rows = w.size(1), blocks = (rows + kRows - 1) / kRows;
  parallel_for(*run.executor, w.size(0) * blocks, [&](Index item, int) {
    const Index e = item / blocks, first = item % blocks * kRows;
    for (Index r = first; r < std::min(first + kRows, rows); ++r)
      row({&w(e, r, 0), w.size(2), args.grid, &args.levels_ER2(e, r, 0),
           &args.symbols_ERC(e, r, 0)});
  });
}

constexpr Variant<RoundToNearest> kRound[] = {
    {Isa::reference, round_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const RoundToNearest& args, const Run& run) { round_in_rows(args, run, round_row_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const RoundToNearest& args,
                     const Run& run) { round_in_rows(args, run, round_row_avx512); }},
#endif
};

constexpr Variant<Gptq> kGptq[] = {
    {Isa::reference, gptq_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const Gptq& args,
                   const Run& run) { gptq_in_blocks(args, run, Isa::avx2, gptq_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const Gptq& args, const Run& run) {
       gptq_in_blocks(args, run, Isa::avx512, gptq_block_avx512);
     }},
#endif
};

template <class T>
void check_shape(const char* op, const char* what, View<T, 3> found, Index experts, Index rows,
                 Index columns) {
  MOTE_CHECK(found.size(0) == experts && found.size(1) == rows && found.size(2) == columns, op,
             ": ", what, " have the shape [", found.size(0), ", ", found.size(1), ", ",
             found.size(2), "], expected [", experts, ", ", rows, ", ", columns, "]");
  MOTE_CHECK(found.stride(2) == 1, op, ": ", what, " must be contiguous along rows, the stride is ",
             found.stride(2));
}

void check_gptq(const Gptq& args, const Run& run) {
  const char* op = "gptq";
  const auto& w = args.w_ERC;
  const Index experts = w.size(0), rows = w.size(1), columns = w.size(2);
  check_shape(op, "weights", w, experts, rows, columns);
  check_shape(op, "factors", args.u_ECC, experts, columns, columns);
  check_shape(op, "levels", args.levels_ER2, experts, rows, 2);
  check_shape(op, "symbols", args.symbols_ERC, experts, rows, columns);
  MOTE_CHECK(args.objective_ER.size(0) == experts && args.objective_ER.size(1) == rows, op,
             ": objectives are for ", args.objective_ER.size(0), " x ", args.objective_ER.size(1),
             " rows, weights for ", experts, " x ", rows);
  const Index needed = gptq_scratch(columns, run.executor->threads());
  MOTE_CHECK(args.scratch.size(0) >= needed, op, ": scratch has ", args.scratch.size(0), " bytes, ",
             needed, " are needed");
  MOTE_CHECK(args.block_columns >= 1 && args.block_columns <= kGptqColumns, op, ": blocks of ",
             args.block_columns, " columns; 1 to ", kGptqColumns, " are possible");
  for (Index e = 0; e < experts; ++e)
    for (Index i = 0; i < columns; ++i) {
      const float diagonal = args.u_ECC(e, i, i);
      if (!(diagonal > 0 && std::isfinite(diagonal)))
        throw Error(ErrorKind::numeric,
                    concat("gptq: expert ", e, " has ", diagonal, " on the diagonal of U at ", i,
                           "; it must be positive: use a larger damping"));
    }
}

}  // namespace

float grid_value(Grid grid, const float* levels, std::uint8_t symbol) {
  if (grid == Grid::two_bit) return levels[0] * (static_cast<float>(symbol) - levels[1]);
  return symbol == 0 ? 0 : levels[symbol - 1];
}

void row_levels(const RowLevels& args, const Run& run) {
  const auto& w = args.w_ERC;
  check_shape("row_levels", "levels", args.levels_ER2, w.size(0), w.size(1), 2);
  check_shape("row_levels", "weights", w, w.size(0), w.size(1), w.size(2));
  parallel_for(*run.executor, w.size(0) * w.size(1), [&](Index item, int) {
    const Index e = item / w.size(1), r = item % w.size(1);
    float* levels = &args.levels_ER2(e, r, 0);
    levels_of_row(&w(e, r, 0), w.size(2), args.grid, args.stored, levels);
    if (!all_finite(&w(e, r, 0), w.size(2)) || !all_finite(levels, 2))
      throw Error(ErrorKind::numeric, concat("row_levels: expert ", e, " row ", r,
                                             " has weights that are not finite or too large"));
  });
}

void round_to_nearest(const RoundToNearest& args, const Run& run) {
  const auto& w = args.w_ERC;
  check_shape("round_to_nearest", "weights", w, w.size(0), w.size(1), w.size(2));
  check_shape("round_to_nearest", "levels", args.levels_ER2, w.size(0), w.size(1), 2);
  check_shape("round_to_nearest", "symbols", args.symbols_ERC, w.size(0), w.size(1), w.size(2));
  select(round_to_nearest_variants(), run).call(args, run);
}

std::span<const Variant<RoundToNearest>> round_to_nearest_variants() {
  return kRound;
}

void gptq(const Gptq& args, const Run& run) {
  check_gptq(args, run);
  select(gptq_variants(), run).call(args, run);
  for (Index e = 0; e < args.objective_ER.size(0); ++e)
    for (Index r = 0; r < args.objective_ER.size(1); ++r)
      if (!std::isfinite(args.objective_ER(e, r)))
        throw Error(ErrorKind::numeric,
                    concat("gptq: expert ", e, " row ", r, " has the objective ",
                           args.objective_ER(e, r), "; weights or factors are not finite"));
}

std::span<const Variant<Gptq>> gptq_variants() {
  return kGptq;
}

Index gptq_scratch(Index columns, int threads) {
  return threads * worker_floats(columns) * static_cast<Index>(sizeof(float)) +
         static_cast<Index>(kLine);
}

}  // namespace mote::kernels
