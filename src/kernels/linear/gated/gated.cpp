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

// Of one place: what the limit leaves.
struct Cut {
  double g, u;
  bool g_cut, u_cut;
};
Cut cut(const Unit& unit, float g, float u) {
  const auto limit = static_cast<double>(unit.limit);
  const auto x = static_cast<double>(g), y = static_cast<double>(u);
  return {x > limit ? limit : x,
          y > limit    ? limit
          : y < -limit ? -limit
                       : y,
          x > limit, std::abs(y) > limit};
}

void reference(const Gated& args, const Run&) {
  const auto offset = static_cast<double>(args.unit.up_offset);
  for (Index n = 0; n < args.g_ND.size(0); ++n)
    for (Index d = 0; d < args.g_ND.size(1); ++d) {
      const Cut at = cut(args.unit, args.g_ND(n, d), args.u_ND.data ? args.u_ND(n, d) : 0);
      const double up = args.u_ND.data ? at.u + offset : 1;
      args.h_ND(n, d) = static_cast<float>(act(args.unit, at.g).y * up);
    }
}

void backward_reference(const GatedBackward& args, const Run&) {
  const auto offset = static_cast<double>(args.unit.up_offset);
  for (Index n = 0; n < args.g_ND.size(0); ++n)
    for (Index d = 0; d < args.g_ND.size(1); ++d) {
      const Cut at = cut(args.unit, args.g_ND(n, d), args.u_ND.data ? args.u_ND(n, d) : 0);
      const double up = args.u_ND.data ? at.u + offset : 1;
      const auto dh = static_cast<double>(args.dh_ND(n, d));
      const Value value = act(args.unit, at.g);
      args.dg_ND(n, d) = static_cast<float>(at.g_cut ? 0 : dh * up * value.slope);
      if (args.u_ND.data) args.du_ND(n, d) = static_cast<float>(at.u_cut ? 0 : dh * value.y);
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

Index rows_at_once(Index columns) {
  return std::max<Index>(1, kNumbers / std::max<Index>(1, columns));
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
  const Index rows = args.g_ND.size(0), at_once = rows_at_once(args.g_ND.size(1));
  parallel_for(*run.executor, (rows + at_once - 1) / at_once, [&](Index item, int) {
    const Index first = item * at_once, count = std::min(at_once, rows - first);
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
  const Index rows = args.g_ND.size(0), at_once = rows_at_once(args.g_ND.size(1));
  parallel_for(*run.executor, (rows + at_once - 1) / at_once, [&](Index item, int) {
    const Index first = item * at_once, count = std::min(at_once, rows - first);
    GatedBackward part = args;
    for (auto* x : {&part.g_ND, &part.u_ND, &part.dh_ND}) keep_rows(*x, first, count);
    for (auto* x : {&part.dg_ND, &part.du_ND}) keep_rows(*x, first, count);
    variant.call(part, run);
  });
}

}  // namespace mote::kernels
