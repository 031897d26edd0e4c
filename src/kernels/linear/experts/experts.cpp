#include "kernels/linear/experts/experts.h"

#include <algorithm>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/matmul/matmul.h"
#include "kernels/linear/rows/rows.h"

namespace mote::kernels {
namespace {

void check(const View<const float, 2>& x_ND, const View<const float, 3>& up_EGD,
           const View<const float, 3>& down_EDG, const View<const float, 2>& u_RG,
           const Routes& routes) {
  const Index experts = up_EGD.size(0), width = up_EGD.size(1), dim = up_EGD.size(2);
  MOTE_CHECK(x_ND.size(1) == dim, "experts: x has ", x_ND.size(1), " columns, up ", dim);
  MOTE_CHECK(down_EDG.sizes == (std::array<Index, 3>{experts, dim, width}), "experts: up is [",
             experts, ", ", width, ", ", dim, "], down [", down_EDG.size(0), ", ", down_EDG.size(1),
             ", ", down_EDG.size(2), "]");
  const Index rows = routes.position_R.size(0), tokens = routes.first_N1.size(0) - 1;
  MOTE_CHECK(tokens == x_ND.size(0) && u_RG.size(0) == rows && u_RG.size(1) == width,
             "experts: x has ", x_ND.size(0), " rows, routes ", tokens, " tokens, u is [",
             u_RG.size(0), ", ", u_RG.size(1), "] where [", rows, ", ", width, "] is needed");
}

void check_rows(const char* name, const View<float, 2>& x, Index rows, Index columns) {
  MOTE_CHECK(x.size(0) == rows && x.size(1) == columns, "experts: ", name, " is [", x.size(0), ", ",
             x.size(1), "] where [", rows, ", ", columns, "] is needed");
}

View<float, 2> rows_of(View<float, 2> x, const RowBlock& block) {
  x.data = x.row(block.first);
  x.sizes[0] = block.count;
  return x;
}

View<float, 2> rows_like(Index rows, Index columns, Scratch& scratch) {
  return view(scratch.take<float>(rows * columns), rows, columns);
}

// c[rows of block] = a * b
void product(const Variant<Gemm>& gemm, Gemm g, const View<float, 2>& c, const Run& run) {
  g.m = c.size(0);
  g.n = c.size(1);
  g.c = c.data;
  g.c_stride = c.stride(0);
  gemm.call(g, run);
}

}  // namespace

void experts_forward(const ExpertsForward& args, const Run& run) {
  check(args.x_ND, args.up_EGD, args.down_EDG, args.u_RG, args.routes);
  check_rows("y", args.y_ND, args.x_ND.size(0), args.x_ND.size(1));
  const Index width = args.up_EGD.size(1), dim = args.up_EGD.size(2);
  Scratch scratch;
  const View<float, 2> p_RD = rows_like(args.u_RG.size(0), dim, scratch);
  Gemm like;
  like.precision = args.precision;
  const auto& gemm = gemm_variant(like, run);
  parallel_for(*run.executor, static_cast<Index>(args.routes.blocks.size()), [&](Index item, int) {
    const RowBlock& block = args.routes.blocks[static_cast<std::size_t>(item)];
    const View<float, 2> u = rows_of(args.u_RG, block);
    Gemm g = like;
    g.k = dim;
    g.a = {args.x_ND.data, args.x_ND.stride(0), Rows::outer, args.routes.token + block.first};
    g.b = {&args.up_EGD(block.expert, 0, 0), args.up_EGD.stride(1), Rows::outer};
    g.finish.activation = Activation::relu;
    product(gemm, g, u, run);
    g.k = width;
    g.a = {u.data, u.stride(0), Rows::outer};
    g.b = {&args.down_EDG(block.expert, 0, 0), args.down_EDG.stride(1), Rows::outer};
    g.finish.activation = Activation::none;
    product(gemm, g, rows_of(p_RD, block), run);
  });
  combine_rows({p_RD, args.routes.position_R, args.routes.first_N1, args.gate_R, args.y_ND}, run);
}

namespace {

// The gate of every sorted row, which scales u in the gradient of `down`.
float* sorted_gates(const ExpertsBackward& args, Index first, Index count, Scratch& scratch) {
  float* memory = scratch.take<float>(count);
  for (Index r = 0; r < count; ++r) memory[r] = args.gate_R[args.routes.order[first + r]];
  return memory;
}

void backward_to_rows(const ExpertsBackward& args, const View<float, 2>& dh_RG,
                      const View<float, 2>& p_RD, const Variant<Gemm>& gemm, const Gemm& like,
                      const Run& run) {
  const Index width = args.up_EGD.size(1), dim = args.up_EGD.size(2);
  parallel_for(*run.executor, static_cast<Index>(args.routes.blocks.size()), [&](Index item, int) {
    const RowBlock& block = args.routes.blocks[static_cast<std::size_t>(item)];
    const View<float, 2> dh = rows_of(dh_RG, block);
    View<const float, 2> u = args.u_RG;
    u.data = args.u_RG.row(block.first);
    u.sizes[0] = block.count;
    Gemm g = like;
    g.k = dim;
    g.a = {args.dy_ND.data, args.dy_ND.stride(0), Rows::outer, args.routes.token + block.first};
    g.b = {&args.down_EDG(block.expert, 0, 0), args.down_EDG.stride(1), Rows::inner};
    product(gemm, g, dh, run);
    relu_backward_rows({u, dh, args.routes.order + block.first, args.gate_R, args.dgate_R}, run);
    g.k = width;
    g.a = {dh.data, dh.stride(0), Rows::outer};
    g.b = {&args.up_EGD(block.expert, 0, 0), args.up_EGD.stride(1), Rows::inner};
    product(gemm, g, rows_of(p_RD, block), run);
  });
}

// Every item is a panel of output rows of one expert's dup or ddown and sums over all rows of that
// expert.
void backward_to_weights(const ExpertsBackward& args, const View<float, 2>& dh_RG,
                         const Variant<Gemm>& gemm, const Gemm& like, const Run& run) {
  constexpr Index kPanel = 504;
  const Index experts = args.up_EGD.size(0), width = args.up_EGD.size(1), dim = args.up_EGD.size(2);
  const Index up_panels = (width + kPanel - 1) / kPanel, down_panels = (dim + kPanel - 1) / kPanel;
  const Index panels = up_panels + down_panels;
  parallel_for(*run.executor, experts * panels, [&](Index item, int) {
    const Index e = item / panels, panel = item % panels;
    const Index begin = e == 0 ? 0 : args.routes.ends[e - 1], count = args.routes.ends[e] - begin;
    Scratch scratch;
    Gemm g = like;
    g.k = count;
    const std::int32_t* token = args.routes.token + begin;
    if (panel < up_panels) {
      const Index first = panel * kPanel, rows = std::min(kPanel, width - first);
      g.a = {dh_RG.row(begin) + first, dh_RG.stride(0), Rows::inner};
      g.b = {args.x_ND.data, args.x_ND.stride(0), Rows::inner, token};
      product(gemm, g, {&args.dup_EGD(e, first, 0), {rows, dim}, {args.dup_EGD.stride(1), 1}}, run);
    } else {
      const Index first = (panel - up_panels) * kPanel, rows = std::min(kPanel, dim - first);
      g.a = {args.dy_ND.data + first, args.dy_ND.stride(0), Rows::inner, token};
      g.b = {args.u_RG.row(begin), args.u_RG.stride(0), Rows::inner, nullptr,
             sorted_gates(args, begin, count, scratch)};
      product(gemm, g, {&args.ddown_EDG(e, first, 0), {rows, width}, {args.ddown_EDG.stride(1), 1}},
              run);
    }
  });
}

}  // namespace

void experts_backward(const ExpertsBackward& args, const Run& run) {
  check(args.x_ND, args.up_EGD, args.down_EDG, args.u_RG, args.routes);
  MOTE_CHECK(
      args.dy_ND.sizes == args.x_ND.sizes && args.dx_ND.sizes == args.x_ND.sizes &&
          args.dup_EGD.sizes == args.up_EGD.sizes && args.ddown_EDG.sizes == args.down_EDG.sizes,
      "experts_backward: a gradient has not the shape of what it is the gradient of (dy and ",
      "dx of x with ", args.x_ND.size(0), " x ", args.x_ND.size(1), ")");
  Gemm like;
  like.precision = args.precision;
  const auto& gemm = gemm_variant(like, run);
  Scratch scratch;
  const View<float, 2> dh_RG = rows_like(args.u_RG.size(0), args.u_RG.size(1), scratch);
  const View<float, 2> p_RD = rows_like(args.u_RG.size(0), args.x_ND.size(1), scratch);
  backward_to_rows(args, dh_RG, p_RD, gemm, like, run);
  combine_rows({p_RD, args.routes.position_R, args.routes.first_N1, nullptr, args.dx_ND}, run);
  backward_to_weights(args, dh_RG, gemm, like, run);
}

namespace {

// Of a sorted row.
Index expert_of(const Routes& routes, Index num_experts, Index r) {
  return std::upper_bound(routes.ends, routes.ends + num_experts, r) - routes.ends;
}

}  // namespace

void experts_forward_reference(const ExpertsForward& args) {
  const Index experts = args.up_EGD.size(0), width = args.up_EGD.size(1), dim = args.up_EGD.size(2);
  std::vector<double> y(static_cast<std::size_t>(dim));
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    std::fill(y.begin(), y.end(), 0.0);
    for (Index row = args.routes.first_N1(n); row < args.routes.first_N1(n + 1); ++row) {
      const Index r = args.routes.position_R(row), e = expert_of(args.routes, experts, r);
      for (Index g = 0; g < width; ++g) {
        double h = 0;
        for (Index d = 0; d < dim; ++d)
          h += static_cast<double>(args.up_EGD(e, g, d)) * static_cast<double>(args.x_ND(n, d));
        args.u_RG(r, g) = static_cast<float>(std::max(h, 0.0));
      }
      for (Index d = 0; d < dim; ++d) {
        double p = 0;
        for (Index g = 0; g < width; ++g)
          p += static_cast<double>(args.down_EDG(e, d, g)) * static_cast<double>(args.u_RG(r, g));
        y[static_cast<std::size_t>(d)] += static_cast<double>(args.gate_R[row]) * p;
      }
    }
    for (Index d = 0; d < dim; ++d)
      args.y_ND(n, d) = static_cast<float>(y[static_cast<std::size_t>(d)]);
  }
}

void experts_backward_reference(const ExpertsBackward& args) {
  const Index experts = args.up_EGD.size(0), width = args.up_EGD.size(1), dim = args.up_EGD.size(2),
              tokens = args.x_ND.size(0);
  const auto weights = static_cast<std::size_t>(experts * width * dim);
  std::vector<double> dup(weights), ddown(weights), dx(static_cast<std::size_t>(tokens * dim));
  const auto at = [&](Index e, Index row, Index columns, Index column) {
    return static_cast<std::size_t>(e * width * dim + row * columns + column);
  };
  for (Index n = 0; n < tokens; ++n)
    for (Index row = args.routes.first_N1(n); row < args.routes.first_N1(n + 1); ++row) {
      const Index r = args.routes.position_R(row), e = expert_of(args.routes, experts, r);
      const auto gate = static_cast<double>(args.gate_R[row]);
      double dgate = 0;
      for (Index g = 0; g < width; ++g) {
        const auto u = static_cast<double>(args.u_RG(r, g));
        double t = 0;
        for (Index d = 0; d < dim; ++d) {
          const auto dy = static_cast<double>(args.dy_ND(n, d));
          t += static_cast<double>(args.down_EDG(e, d, g)) * dy;
          ddown[at(e, d, width, g)] += dy * gate * u;
        }
        dgate += t * u;
        const double dh = u > 0 ? gate * t : 0;
        for (Index d = 0; d < dim; ++d) {
          dup[at(e, g, dim, d)] += dh * static_cast<double>(args.x_ND(n, d));
          dx[static_cast<std::size_t>(n * dim + d)] +=
              dh * static_cast<double>(args.up_EGD(e, g, d));
        }
      }
      args.dgate_R[row] = static_cast<float>(dgate);
    }
  for (Index n = 0; n < tokens; ++n)
    for (Index d = 0; d < dim; ++d)
      args.dx_ND(n, d) = static_cast<float>(dx[static_cast<std::size_t>(n * dim + d)]);
  for (Index e = 0; e < experts; ++e)
    for (Index g = 0; g < width; ++g)
      for (Index d = 0; d < dim; ++d) {
        args.dup_EGD(e, g, d) = static_cast<float>(dup[at(e, g, dim, d)]);
        args.ddown_EDG(e, d, g) = static_cast<float>(ddown[at(e, d, width, g)]);
      }
}

}  // namespace mote::kernels
