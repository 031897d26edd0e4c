#include "kernels/sequence/norm/norm.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/scratch.h"

namespace mote::kernels {
namespace {

template <class Args>
double weight_of(const Args& args, Index d) {
  return static_cast<double>(args.weight_D[d]) + static_cast<double>(args.weight_offset);
}

void reference(const LayerNorm& args, const Run&) {
  const Index columns = args.x_ND.size(1);
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    const float* x = args.x_ND.row(n);
    double mean = 0, variance = 0;
    for (Index d = 0; args.centred && d < columns; ++d) mean += static_cast<double>(x[d]);
    mean /= static_cast<double>(columns);
    for (Index d = 0; d < columns; ++d) variance += std::pow(static_cast<double>(x[d]) - mean, 2);
    const double rstd =
        1 / std::sqrt(variance / static_cast<double>(columns) + static_cast<double>(args.eps));
    for (Index d = 0; d < columns; ++d)
      args.y_ND(n, d) =
          static_cast<float>((static_cast<double>(x[d]) - mean) * rstd * weight_of(args, d) +
                             (args.bias_D ? static_cast<double>(args.bias_D[d]) : 0));
    args.mean_N[n] = static_cast<float>(mean);
    args.rstd_N[n] = static_cast<float>(rstd);
  }
}

// Of one block of rows; dweight and dbias are the block's own sums.
void backward_reference(const LayerNormBackward& args, const Run&) {
  const Index columns = args.x_ND.size(1);
  std::fill_n(args.dweight_D, columns, 0.0f);
  std::fill_n(args.dbias_D, columns, 0.0f);
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    const auto mean = static_cast<double>(args.mean_N[n]),
               rstd = static_cast<double>(args.rstd_N[n]);
    const auto hat = [&](Index d) { return (static_cast<double>(args.x_ND(n, d)) - mean) * rstd; };
    const auto g = [&](Index d) {
      return static_cast<double>(args.dy_ND(n, d)) * weight_of(args, d);
    };
    double mean_g = 0, mean_gx = 0;
    for (Index d = 0; d < columns; ++d) {
      mean_g += g(d);
      mean_gx += g(d) * hat(d);
    }
    mean_g = args.centred ? mean_g / static_cast<double>(columns) : 0;
    mean_gx /= static_cast<double>(columns);
    for (Index d = 0; d < columns; ++d) {
      args.dx_ND(n, d) = static_cast<float>(rstd * (g(d) - mean_g - hat(d) * mean_gx));
      args.dweight_D[d] += static_cast<float>(static_cast<double>(args.dy_ND(n, d)) * hat(d));
      args.dbias_D[d] += args.dy_ND(n, d);
    }
  }
}

constexpr Variant<LayerNorm> kForward[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, layer_norm_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, layer_norm_avx512},
#endif
};

constexpr Variant<LayerNormBackward> kBackward[] = {
    {Isa::reference, backward_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, layer_norm_backward_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, layer_norm_backward_avx512},
#endif
};

template <class T>
View<T, 2> rows_of(View<T, 2> x, Index first) {
  x.data = x.row(first);
  x.sizes[0] = std::min(kNormRows, x.sizes[0] - first);
  return x;
}

Index num_blocks(Index rows) {
  return (rows + kNormRows - 1) / kNormRows;
}

}  // namespace

std::span<const Variant<LayerNorm>> layer_norm_variants() {
  return kForward;
}
std::span<const Variant<LayerNormBackward>> layer_norm_backward_variants() {
  return kBackward;
}

void layer_norm(const LayerNorm& args, const Run& run) {
  MOTE_CHECK(args.x_ND.sizes == args.y_ND.sizes, "layer_norm: x has ", args.x_ND.size(0), " x ",
             args.x_ND.size(1), " entries, y ", args.y_ND.size(0), " x ", args.y_ND.size(1));
  const auto& variant = select(layer_norm_variants(), run);
  parallel_for(*run.executor, num_blocks(args.x_ND.size(0)), [&](Index block, int) {
    const Index first = block * kNormRows;
    LayerNorm part = args;
    part.x_ND = rows_of(args.x_ND, first);
    part.y_ND = rows_of(args.y_ND, first);
    part.mean_N = args.mean_N + first;
    part.rstd_N = args.rstd_N + first;
    variant.call(part, run);
  });
}

void layer_norm_backward(const LayerNormBackward& args, const Run& run) {
  MOTE_CHECK(args.dy_ND.sizes == args.x_ND.sizes && args.dx_ND.sizes == args.x_ND.sizes,
             "layer_norm_backward: x has ", args.x_ND.size(0), " x ", args.x_ND.size(1),
             " entries, dy ", args.dy_ND.size(0), " x ", args.dy_ND.size(1), ", dx ",
             args.dx_ND.size(0), " x ", args.dx_ND.size(1));
  const Index columns = args.x_ND.size(1), blocks = num_blocks(args.x_ND.size(0));
  const auto& variant = select(layer_norm_backward_variants(), run);
  Scratch scratch;
  float* partials = scratch.take<float>(2 * columns * blocks);
  parallel_for(*run.executor, blocks, [&](Index block, int) {
    const Index first = block * kNormRows;
    LayerNormBackward part = args;
    part.x_ND = rows_of(args.x_ND, first);
    part.dy_ND = rows_of(args.dy_ND, first);
    part.dx_ND = rows_of(args.dx_ND, first);
    part.mean_N = args.mean_N + first;
    part.rstd_N = args.rstd_N + first;
    part.dweight_D = partials + 2 * columns * block;
    part.dbias_D = part.dweight_D + columns;
    variant.call(part, run);
  });
  std::fill_n(args.dweight_D, columns, 0.0f);
  if (args.dbias_D) std::fill_n(args.dbias_D, columns, 0.0f);
  for (Index block = 0; block < blocks; ++block) {
    const float* partial = partials + 2 * columns * block;
    for (Index d = 0; d < columns; ++d) args.dweight_D[d] += partial[d];
    for (Index d = 0; args.dbias_D && d < columns; ++d) args.dbias_D[d] += partial[columns + d];
  }
}

}  // namespace mote::kernels
