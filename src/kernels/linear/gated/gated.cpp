#include "kernels/linear/gated/gated.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace mote::kernels {
namespace {

struct Value {
  double y, slope;
};

Value sigmoid_unit(double x, double z, double dz) {
  const double s = 1 / (1 + std::exp(-z));
  return {x * s, s + x * s * (1 - s) * dz};
}

Value act(const Unit& unit, double x) {
  switch (unit.kind) {
    case UnitKind::identity:
      return {x, 1};
    case UnitKind::relu:
      return {x < 0 ? 0 : x, x > 0 ? 1.0 : 0};
    case UnitKind::silu: {
      const auto alpha = static_cast<double>(unit.alpha);
      return sigmoid_unit(x, alpha * x, alpha);
    }
    case UnitKind::gelu: {
      const double phi = std::erfc(-x / std::numbers::sqrt2) / 2;
      return {x * phi, phi + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi)};
    }
    case UnitKind::gelu_tanh: {
      // (1 + tanh(z / 2)) / 2 is the sigmoid of z.
      const double c = std::sqrt(8 / std::numbers::pi);
      return sigmoid_unit(x, c * (x + 0.044715 * x * x * x), c * (1 + 3 * 0.044715 * x * x));
    }
  }
  return {};
}

// Of one place: what the limit leaves of g and of what act(g) is multiplied with.
struct Cut {
  double g, up;
  bool g_cut, up_cut;
};
template <class Args>
Cut cut(const Args& args, Index n, Index d) {
  const auto limit = static_cast<double>(args.unit.limit);
  const auto g = static_cast<double>(args.g_ND(n, d));
  Cut at{g > limit ? limit : g, 1, g > limit, false};
  if (!args.u_ND.data) return at;
  const auto u = static_cast<double>(args.u_ND(n, d));
  const double kept = u > limit ? limit : u < -limit ? -limit : u;
  at.up = kept + static_cast<double>(args.unit.up_offset);
  at.up_cut = std::abs(u) > limit;
  return at;
}

void reference(const Gated& args, const Run&) {
  for (Index n = 0; n < args.g_ND.size(0); ++n)
    for (Index d = 0; d < args.g_ND.size(1); ++d) {
      const Cut at = cut(args, n, d);
      args.h_ND(n, d) = static_cast<float>(act(args.unit, at.g).y * at.up);
    }
}

void backward_reference(const GatedBackward& args, const Run&) {
  for (Index n = 0; n < args.g_ND.size(0); ++n)
    for (Index d = 0; d < args.g_ND.size(1); ++d) {
      const Cut at = cut(args, n, d);
      const auto dh = static_cast<double>(args.dh_ND(n, d));
      const Value value = act(args.unit, at.g);
      args.dg_ND(n, d) = static_cast<float>(at.g_cut ? 0 : dh * at.up * value.slope);
      if (args.u_ND.data) args.du_ND(n, d) = static_cast<float>(at.up_cut ? 0 : dh * value.y);
    }
}

constexpr Variant<Gated> kForward[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, gated_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, gated_avx512},
#endif
};

constexpr Variant<GatedBackward> kBackward[] = {
    {Isa::reference, backward_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, gated_backward_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, gated_backward_avx512},
#endif
};

constexpr Index kNumbers = 1 << 14;  // of one item of work

// body(first, count) for parts of the rows of a [rows, columns] view.
void for_parts(const Run& run, const View<const float, 2>& x,
               FunctionRef<void(Index first, Index count)> body) {
  const Index rows = x.size(0),
              at_once = std::max<Index>(1, kNumbers / std::max<Index>(1, x.size(1)));
  parallel_for(*run.executor, (rows + at_once - 1) / at_once, [&](Index item, int) {
    const Index first = item * at_once;
    body(first, std::min(at_once, rows - first));
  });
}

template <class T>
void keep_rows(View<T, 2>& x, Index first, Index count) {
  if (!x.data) return;
  x.data = x.row(first);
  x.sizes[0] = count;
}

template <class T, class U>
void check_like(const char* name, const View<T, 2>& x, const View<U, 2>& g) {
  MOTE_CHECK(x.sizes == g.sizes, "gated: ", name, " is ", x.size(0), " x ", x.size(1), ", g ",
             g.size(0), " x ", g.size(1));
}

}  // namespace

std::span<const Variant<Gated>> gated_variants() {
  return kForward;
}
std::span<const Variant<GatedBackward>> gated_backward_variants() {
  return kBackward;
}

void gated(const Gated& args, const Run& run) {
  if (args.u_ND.data) check_like("u", args.u_ND, args.g_ND);
  check_like("h", args.h_ND, args.g_ND);
  const auto& variant = select(gated_variants(), run);
  for_parts(run, args.g_ND, [&](Index first, Index count) {
    Gated part = args;
    keep_rows(part.g_ND, first, count);
    keep_rows(part.u_ND, first, count);
    keep_rows(part.h_ND, first, count);
    variant.call(part, run);
  });
}

void gated_backward(const GatedBackward& args, const Run& run) {
  check_like("dh", args.dh_ND, args.g_ND);
  check_like("dg", args.dg_ND, args.g_ND);
  if (args.u_ND.data) {
    check_like("u", args.u_ND, args.g_ND);
    check_like("du", args.du_ND, args.g_ND);
  }
  const auto& variant = select(gated_backward_variants(), run);
  for_parts(run, args.g_ND, [&](Index first, Index count) {
    GatedBackward part = args;
    for (auto* x : {&part.g_ND, &part.u_ND, &part.dh_ND}) keep_rows(*x, first, count);
    for (auto* x : {&part.dg_ND, &part.du_ND}) keep_rows(*x, first, count);
    variant.call(part, run);
  });
}

}  // namespace mote::kernels
