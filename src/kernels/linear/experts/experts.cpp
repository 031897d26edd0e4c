#include "kernels/linear/experts/experts.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/matmul/matmul.h"
#include "kernels/linear/rows/rows.h"

namespace mote::kernels {
namespace {

void check(const View<const float, 2>& x_ND, const Stack& up, const Stack& down,
           const View<const float, 2>& u_RG, const Routes& routes) {
  MOTE_CHECK(x_ND.size(1) == up.columns, "experts: x has ", x_ND.size(1), " columns, up ",
             up.columns);
  MOTE_CHECK(down.experts == up.experts && down.rows == up.columns && down.columns == up.rows,
             "experts: up is [", up.experts, ", ", up.rows, ", ", up.columns, "], down [",
             down.experts, ", ", down.rows, ", ", down.columns, "]");
  const Index rows = routes.position_R.size(0), tokens = routes.first_N1.size(0) - 1;
  MOTE_CHECK(
      tokens == x_ND.size(0) && (!u_RG.data || (u_RG.size(0) == rows && u_RG.size(1) == up.rows)),
      "experts: x has ", x_ND.size(0), " rows, routes ", tokens, " tokens, u is [", u_RG.size(0),
      ", ", u_RG.size(1), "] where [", rows, ", ", up.rows, "] is needed");
}

void check_gate(const Stack& gate, const Stack& up) {
  MOTE_CHECK(gate.experts == up.experts && gate.rows == up.rows && gate.columns == up.columns &&
                 gate.type == up.type,
             "experts: up is [", up.experts, ", ", up.rows, ", ", up.columns, "], gate [",
             gate.experts, ", ", gate.rows, ", ", gate.columns, "] or of another type");
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

// Columns [first, first + count) of the hidden units of a block's rows.
void make_units(const ExpertsForward& args, const RowBlock& block, Index first,
                const View<float, 2>& u, const Variant<Gemm>& gemm, const Run& run) {
  const auto columns = [&](const Stack& w) { return from_outer(w.matrix(block.expert), first); };
  Gemm g;
  g.precision = args.precision;
  g.k = args.up_EGD.columns;
  g.a = {args.x_ND.data, args.x_ND.stride(0), Rows::outer, args.routes.token + block.first};
  g.b = columns(args.up_EGD);
  const UnitKind kind = args.unit.kind;
  const bool plain = args.unit.limit == std::numeric_limits<float>::infinity();
  if (args.gate_EGD.experts > 0) {
    g.gate = columns(args.gate_EGD);
    g.unit = args.unit;
    return product(gemm, g, u, run);
  }
  if (kind == UnitKind::relu && plain) g.finish.activation = Activation::relu;
  product(gemm, g, u, run);
  if (!plain || (kind != UnitKind::relu && kind != UnitKind::identity))
    select(gated_variants(), run).call({u, {}, args.unit, u}, run);
}

// Columns [first, first + count of p) of what a block's rows give.
void make_outputs(const ExpertsForward& args, const RowBlock& block, Index first,
                  const View<float, 2>& u, const View<float, 2>& p, const Variant<Gemm>& gemm,
                  const Run& run) {
  Gemm g;
  g.precision = args.precision;
  g.k = args.down_EDG.columns;
  g.a = {u.data, u.stride(0), Rows::outer};
  g.b = from_outer(args.down_EDG.matrix(block.expert), first);
  product(gemm, g, p, run);
}

constexpr Index kFewRouted = 64;  // rows altogether

// body(block, first, view of columns [first, ...) of the block's rows of c) for pieces of columns of
// about 2^21 multiply-adds. A row costs as much as eight: it waits for memory.
template <class Body>
void for_columns(const Routes& routes, const View<float, 2>& c, Index k, const Run& run,
                 const Body& body) {
  constexpr Index kUnit = 64;
  const Index blocks = static_cast<Index>(routes.blocks.size()), n = c.size(1);
  const Index pieces =
      std::clamp<Index>(8 * n * k >> 21, 1, std::max<Index>(1, std::min<Index>(16, n / kUnit)));
  const auto begin = [&](Index piece) {
    return piece == pieces ? n : n / kUnit * piece / pieces * kUnit;
  };
  parallel_for(*run.executor, blocks * pieces, [&](Index item, int) {
    const RowBlock& block = routes.blocks[static_cast<std::size_t>(item / pieces)];
    const Index first = begin(item % pieces);
    View<float, 2> part = rows_of(c, block);
    part.data += first;
    part.sizes[1] = begin(item % pieces + 1) - first;
    body(block, first, part);
  });
}

}  // namespace

Operand Stack::matrix(Index e) const {
  const void* at = each ? each[e] : static_cast<const char*>(data) + e * stride * size_of(type);
  Operand x{at, row_stride, Rows::outer};
  x.type = type;
  return x;
}

Stack stack_of(const View<const float, 3>& w) {
  return {w.size(0), w.size(1), w.size(2), Type::f32, w.stride(1), w.data, w.stride(0)};
}

void experts_forward(const ExpertsForward& args, const Run& run) {
  const Routes& routes = args.routes;
  check(args.x_ND, args.up_EGD, args.down_EDG, args.u_RG, routes);
  if (args.gate_EGD.experts > 0) check_gate(args.gate_EGD, args.up_EGD);
  check_rows("y", args.y_ND, args.x_ND.size(0), args.x_ND.size(1));
  const Index width = args.up_EGD.rows, dim = args.up_EGD.columns, rows = routes.position_R.size(0);
  Scratch scratch;
  const View<float, 2> p_RD = rows_like(rows, dim, scratch);
  Gemm like;
  like.precision = args.precision;
  const auto& gemm = gemm_variant(like, run);
  if (rows <= kFewRouted) {
    const View<float, 2> u_RG = args.u_RG.data ? args.u_RG : rows_like(rows, width, scratch);
    for_columns(routes, u_RG, dim, run,
                [&](const RowBlock& block, Index first, const View<float, 2>& u) {
                  make_units(args, block, first, u, gemm, run);
                });
    for_columns(routes, p_RD, width, run,
                [&](const RowBlock& block, Index first, const View<float, 2>& p) {
                  make_outputs(args, block, first, rows_of(u_RG, block), p, gemm, run);
                });
  } else {
    parallel_for(*run.executor, static_cast<Index>(routes.blocks.size()), [&](Index item, int) {
      const RowBlock& block = routes.blocks[static_cast<std::size_t>(item)];
      Scratch hidden;
      const View<float, 2> u =
          args.u_RG.data ? rows_of(args.u_RG, block) : rows_like(block.count, width, hidden);
      make_units(args, block, 0, u, gemm, run);
      make_outputs(args, block, 0, u, rows_of(p_RD, block), gemm, run);
    });
  }
  combine_rows({p_RD, routes.position_R, routes.first_N1, args.gate_R, args.y_ND}, run);
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
  check(args.x_ND, stack_of(args.up_EGD), stack_of(args.down_EDG), args.u_RG, args.routes);
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

float element(const Stack& w, Index e, Index row, Index column) {
  const Operand matrix = w.matrix(e);
  const Index at = row * matrix.stride + column;
  if (w.type == Type::bf16) return from_bf16(static_cast<const Bf16*>(matrix.data)[at]);
  if (w.type == Type::f16) return from_f16(static_cast<const F16*>(matrix.data)[at]);
  return static_cast<const float*>(matrix.data)[at];
}

}  // namespace

void experts_forward_reference(const ExpertsForward& args) {
  const Index experts = args.up_EGD.experts, width = args.up_EGD.rows, dim = args.up_EGD.columns;
  std::vector<double> y(static_cast<std::size_t>(dim));
  const auto dot = [](const Stack& w, Index e, Index row, const float* x) {
    double sum = 0;
    for (Index i = 0; i < w.columns; ++i)
      sum += static_cast<double>(element(w, e, row, i)) * static_cast<double>(x[i]);
    return sum;
  };
  std::vector<float> g(static_cast<std::size_t>(width)), u(g.size());
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    std::fill(y.begin(), y.end(), 0.0);
    for (Index row = args.routes.first_N1(n); row < args.routes.first_N1(n + 1); ++row) {
      const Index r = args.routes.position_R(row), e = expert_of(args.routes, experts, r);
      const bool gated = args.gate_EGD.experts > 0;
      for (Index i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>(i);
        u[at] = static_cast<float>(dot(args.up_EGD, e, i, args.x_ND.row(n)));
        g[at] = gated ? static_cast<float>(dot(args.gate_EGD, e, i, args.x_ND.row(n))) : u[at];
      }
      const View<float, 2> up = view(u.data(), 1, width);
      gated_variants().front().call(
          {view(g.data(), 1, width), gated ? up : View<float, 2>{}, args.unit, up}, {});
      if (args.u_RG.data) std::copy(u.begin(), u.end(), args.u_RG.row(r));
      for (Index d = 0; d < dim; ++d)
        y[static_cast<std::size_t>(d)] +=
            static_cast<double>(args.gate_R[row]) * dot(args.down_EDG, e, d, u.data());
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
