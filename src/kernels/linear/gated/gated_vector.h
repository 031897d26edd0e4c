// The units for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/linear/gated/gated.h"

namespace mote::kernels {
namespace {

template <class S>
struct UnitValue {
  typename S::V y, slope;
};

template <class S>
[[gnu::always_inline]] inline typename S::V negative(typename S::V x) {
  return S::mul(x, S::set(-1));
}

// exp(-|z|); NaN stays.
template <class S>
[[gnu::always_inline]] inline typename S::V exp_of_minus_size(typename S::V z) {
  return exp_of_negative<S>(S::min(negative<S>(z), z));
}

template <class S>
[[gnu::always_inline]] inline typename S::V sigmoid(typename S::V z) {
  using V = typename S::V;
  const V one = S::set(1), e = exp_of_minus_size<S>(z);
  // 1 / (1 + e), for negative z e / (1 + e).
  const V above = S::add(S::where_positive(z, S::add(one, negative<S>(e))), e);
  return S::div(above, S::add(one, e));
}

// x sigmoid(z), and its slope where z has the slope dz.
template <class S>
[[gnu::always_inline]] inline UnitValue<S> sigmoid_unit(typename S::V x, typename S::V z,
                                                        typename S::V dz) {
  using V = typename S::V;
  const V s = sigmoid<S>(z), y = S::mul(x, s);
  const V rest = S::add(S::set(1), negative<S>(s));
  return {y, S::fma(S::mul(y, rest), dz, s)};
}

// Abramowitz and Stegun 7.1.26: erfc(|x|) = t (a1 + t (a2 + ...)) exp(-x^2), within 1.5e-7.
template <class S>
[[gnu::always_inline]] inline UnitValue<S> gelu(typename S::V x) {
  using V = typename S::V;
  const V one = S::set(1), size = S::max(negative<S>(x), x);
  const V t = S::div(one, S::fma(S::set(0.3275911f * 0.70710678f), size, one));
  const V e = exp_of_negative<S>(S::mul(S::mul(x, x), S::set(-0.5f)));
  V p = S::fma(S::set(1.061405429f), t, S::set(-1.453152027f));
  p = S::fma(p, t, S::set(1.421413741f));
  p = S::fma(p, t, S::set(-0.284496736f));
  p = S::fma(p, t, S::set(0.254829592f));
  const V half_tail = S::mul(S::mul(S::mul(p, t), e), S::set(0.5f));  // of one side
  const V phi = S::add(S::where_positive(x, S::fma(half_tail, S::set(-2), one)), half_tail);
  return {S::mul(x, phi), S::fma(S::mul(x, e), S::set(0.39894228f), phi)};
}

template <class S, UnitKind kKind>
[[gnu::always_inline]] inline UnitValue<S> act(const Unit& unit, typename S::V x) {
  using V = typename S::V;
  if constexpr (kKind == UnitKind::identity) return {x, S::set(1)};
  // max gives its second operand where one is NaN.
  if constexpr (kKind == UnitKind::relu)
    return {S::max(S::zero(), x), S::where_positive(x, S::set(1))};
  if constexpr (kKind == UnitKind::silu) {
    const V alpha = S::set(unit.alpha);
    return sigmoid_unit<S>(x, S::mul(alpha, x), alpha);
  }
  if constexpr (kKind == UnitKind::gelu) return gelu<S>(x);
  if constexpr (kKind == UnitKind::gelu_tanh) {
    constexpr float kC = 1.5957691f, kCube = 0.044715f;
    const V square = S::mul(x, x), one = S::set(1);
    const V z = S::mul(S::mul(x, S::set(kC)), S::fma(square, S::set(kCube), one));
    return sigmoid_unit<S>(x, z, S::mul(S::set(kC), S::fma(square, S::set(3 * kCube), one)));
  }
}

// What the limit leaves; min and max give their second operand where one is NaN.
template <class S>
[[gnu::always_inline]] inline typename S::V clamped(typename S::V u, float limit) {
  return S::max(S::set(-limit), S::min(S::set(limit), u));
}
// v where |u| <= limit, else 0.
template <class S>
[[gnu::always_inline]] inline typename S::V where_kept(typename S::V size, float limit,
                                                       typename S::V v) {
  using V = typename S::V;
  const V cut = S::where_positive(S::add(size, S::set(-limit)), S::set(1));
  return S::mul(v, S::add(S::set(1), negative<S>(cut)));
}

template <class S, UnitKind kKind>
void gated_of(const Gated& args) {
  using V = typename S::V;
  const V offset = S::set(args.unit.up_offset), limit = S::set(args.unit.limit);
  for (Index n = 0; n < args.g_ND.size(0); ++n) {
    const float *g = args.g_ND.row(n), *u = args.u_ND.data ? args.u_ND.row(n) : nullptr;
    float* h = args.h_ND.row(n);
    for_vectors<S>(0, args.g_ND.size(1), [&](Index d, auto lanes) {
      const V y = act<S, kKind>(args.unit, S::min(limit, lanes.load(g + d))).y;
      if (!u) return lanes.store(h + d, y);
      lanes.store(h + d, S::mul(y, S::add(clamped<S>(lanes.load(u + d), args.unit.limit), offset)));
    });
  }
}

template <class S, UnitKind kKind>
void gated_backward_of(const GatedBackward& args) {
  using V = typename S::V;
  const float most = args.unit.limit;
  const bool limited = most < std::numeric_limits<float>::infinity();
  const V offset = S::set(args.unit.up_offset), limit = S::set(most);
  for (Index n = 0; n < args.g_ND.size(0); ++n) {
    const float *g = args.g_ND.row(n), *u = args.u_ND.data ? args.u_ND.row(n) : nullptr;
    const float* dh = args.dh_ND.row(n);
    float *dg = args.dg_ND.row(n), *du = u ? args.du_ND.row(n) : nullptr;
    for_vectors<S>(0, args.g_ND.size(1), [&](Index d, auto lanes) {
      const V x = lanes.load(g + d), dhd = lanes.load(dh + d);
      const UnitValue<S> value = act<S, kKind>(args.unit, S::min(limit, x));
      V of_g = S::mul(dhd, value.slope);
      if (u) {
        const V ud = lanes.load(u + d);
        of_g = S::mul(of_g, S::add(clamped<S>(ud, most), offset));
        V of_u = S::mul(dhd, value.y);
        if (limited) of_u = where_kept<S>(S::max(negative<S>(ud), ud), most, of_u);
        lanes.store(du + d, of_u);
      }
      lanes.store(dg + d, limited ? where_kept<S>(x, most, of_g) : of_g);
    });
  }
}

template <class Call>
[[gnu::always_inline]] inline void with_unit(UnitKind kind, const Call& call) {
  switch (kind) {
    case UnitKind::identity:
      return call.template operator()<UnitKind::identity>();
    case UnitKind::relu:
      return call.template operator()<UnitKind::relu>();
    case UnitKind::silu:
      return call.template operator()<UnitKind::silu>();
    case UnitKind::gelu:
      return call.template operator()<UnitKind::gelu>();
    case UnitKind::gelu_tanh:
      return call.template operator()<UnitKind::gelu_tanh>();
  }
}

template <class S>
void gated_vector(const Gated& args) {
  with_unit(args.unit.kind, [&]<UnitKind kKind>() { gated_of<S, kKind>(args); });
}
template <class S>
void gated_backward_vector(const GatedBackward& args) {
  with_unit(args.unit.kind, [&]<UnitKind kKind>() { gated_backward_of<S, kKind>(args); });
}

}  // namespace
}  // namespace mote::kernels
