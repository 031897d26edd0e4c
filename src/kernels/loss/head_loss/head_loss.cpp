#include "kernels/loss/head_loss/head_loss.h"

#include <algorithm>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/matmul/matmul.h"
#include "kernels/loss/cross_entropy/cross_entropy.h"

namespace mote::kernels {
namespace {

void add_column_sums(const float* x, Index rows, Index columns, float* sums, const Run& run) {
  constexpr Index kColumns = 1024;
  parallel_for(*run.executor, (columns + kColumns - 1) / kColumns, [&](Index item, int) {
    const Index begin = item * kColumns, end = std::min(columns, begin + kColumns);
    for (Index i = 0; i < rows; ++i)
      for (Index c = begin; c < end; ++c) sums[c] += x[i * columns + c];
  });
}

}  // namespace

void head_loss(const HeadLoss& args, const Run& run) {
  const Index rows = args.x_ND.size(0), dim = args.x_ND.size(1),
              vocabulary = args.weight_VD.size(0);
  MOTE_CHECK(args.weight_VD.size(1) == dim, "head_loss: x has ", dim, " columns, the weight ",
             args.weight_VD.size(1));
  for (Index n = 0; n < rows; ++n)
    MOTE_CHECK(args.target_N[n] < vocabulary, "head_loss: target ", args.target_N[n], " of ",
               vocabulary);
  const bool gradient = args.dx_ND.data || args.dweight_VD.data || args.dbias_V;
  const auto& cross_entropy = select(cross_entropy_row_variants(), run);
  Gemm like;
  like.precision = args.precision;
  if (args.dbias_V) std::fill_n(args.dbias_V, vocabulary, 0.0f);
  if (args.dweight_VD.data && rows == 0)
    for (Index v = 0; v < vocabulary; ++v) std::fill_n(args.dweight_VD.row(v), dim, 0.0f);

  Scratch scratch;
  float* logits = scratch.take<float>(std::min(rows, kHeadRows) * vocabulary);
  for (Index first = 0; first < rows; first += kHeadRows) {
    const Index count = std::min(kHeadRows, rows - first);
    Gemm forward = like;
    forward.m = count, forward.n = vocabulary, forward.k = dim;
    forward.a = {args.x_ND.row(first), args.x_ND.stride(0), Rows::outer};
    forward.b = {args.weight_VD.data, args.weight_VD.stride(0), Rows::outer};
    forward.c = logits, forward.c_stride = vocabulary;
    forward.finish.bias = args.bias_V;
    matmul(forward, run);

    constexpr Index kRows = 8;
    parallel_for(*run.executor, (count + kRows - 1) / kRows, [&](Index item, int) {
      for (Index i = item * kRows; i < std::min(count, (item + 1) * kRows); ++i) {
        float* row = logits + i * vocabulary;
        const std::int64_t target = args.target_N[first + i];
        args.loss_N[first + i] = 0;
        if (target >= 0)
          cross_entropy.call(
              {row, vocabulary, target, gradient, args.scale, args.loss_N + first + i}, run);
        else if (gradient)
          std::fill_n(row, vocabulary, 0.0f);
      }
    });
    if (args.dx_ND.data) {
      Gemm to_x = like;
      to_x.m = count, to_x.n = dim, to_x.k = vocabulary;
      to_x.a = {logits, vocabulary, Rows::outer};
      to_x.b = {args.weight_VD.data, args.weight_VD.stride(0), Rows::inner};
      to_x.c = args.dx_ND.row(first), to_x.c_stride = args.dx_ND.stride(0);
      matmul(to_x, run);
    }
    if (args.dweight_VD.data) {
      Gemm to_weight = like;
      to_weight.m = vocabulary, to_weight.n = dim, to_weight.k = count;
      to_weight.a = {logits, vocabulary, Rows::inner};
      to_weight.b = {args.x_ND.row(first), args.x_ND.stride(0), Rows::inner};
      to_weight.c = args.dweight_VD.data, to_weight.c_stride = args.dweight_VD.stride(0);
      to_weight.finish.accumulate = first > 0;
      matmul(to_weight, run);
    }
    if (args.dbias_V) add_column_sums(logits, count, vocabulary, args.dbias_V, run);
  }
}

}  // namespace mote::kernels
