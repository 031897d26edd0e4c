// Adam on picked rows for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/lookup/adam_rows/adam_rows.h"

namespace mote::kernels {
namespace {

// Rounding to bfloat16 at random.
struct NoisyAvx2 : Avx2 {
  using I = __m256i;
  // row_noise of the columns from d on; `start` is that of the row before it is mixed.
  [[gnu::always_inline]] static I noise(std::uint32_t start, Index d) {
    const I column = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(d)),
                                      _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    I x = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(start)),
                           _mm256_mullo_epi32(column, _mm256_set1_epi32(int(kNoiseColumn))));
    x = _mm256_mullo_epi32(_mm256_xor_si256(x, _mm256_srli_epi32(x, 16)),
                           _mm256_set1_epi32(int(kNoiseMix[0])));
    x = _mm256_mullo_epi32(_mm256_xor_si256(x, _mm256_srli_epi32(x, 15)),
                           _mm256_set1_epi32(int(kNoiseMix[1])));
    return _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
  }
  [[gnu::always_inline]] static I low(I x) {
    return _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
  }
  [[gnu::always_inline]] static I high(I x) { return _mm256_srli_epi32(x, 16); }
  [[gnu::always_inline]] static void store_bf16(Bf16* p, V v, I noise, Index n) {
    const I bits = _mm256_srli_epi32(_mm256_add_epi32(_mm256_castps_si256(v), noise), 16);
    const __m128i halves =
        _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    if (n >= kLanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
    alignas(16) Bf16 part[kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(part), halves);
    for (Index i = 0; i < n; ++i) p[i] = part[i];
  }
};

#if defined(__AVX512F__)
struct NoisyAvx512 : Avx512 {
  using I = __m512i;
  [[gnu::always_inline]] static I noise(std::uint32_t start, Index d) {
    const I column =
        _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(d)),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    I x = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(start)),
                           _mm512_mullo_epi32(column, _mm512_set1_epi32(int(kNoiseColumn))));
    x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 16)),
                           _mm512_set1_epi32(int(kNoiseMix[0])));
    x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 15)),
                           _mm512_set1_epi32(int(kNoiseMix[1])));
    return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
  }
  [[gnu::always_inline]] static I low(I x) {
    return _mm512_and_si512(x, _mm512_set1_epi32(0xffff));
  }
  [[gnu::always_inline]] static I high(I x) { return _mm512_srli_epi32(x, 16); }
  [[gnu::always_inline]] static void store_bf16(Bf16* p, V v, I noise, Index n) {
    const I bits = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(v), noise), 16);
    _mm256_mask_storeu_epi16(p, mask(n), _mm512_cvtepi32_epi16(bits));
  }
};
#endif

template <class S, Type T>
struct StoredRow;
template <class S>
struct StoredRow<S, Type::f32> {
  float* p;
  StoredRow(const RowStore& store, Index row)
      : p(static_cast<float*>(store.data) + row * store.stride) {}
  [[gnu::always_inline]] typename S::V load(Index d, Index n) const {
    return n >= S::kLanes ? S::load(p + d) : S::load(p + d, n);
  }
  [[gnu::always_inline]] void store(Index d, Index n, typename S::V v, typename S::I) const {
    n >= S::kLanes ? S::store(p + d, v) : S::store(p + d, v, n);
  }
  [[gnu::always_inline]] void ask_for(Index d) const { __builtin_prefetch(p + d, 1, 2); }
};
template <class S>
struct StoredRow<S, Type::bf16> {
  Bf16* p;
  StoredRow(const RowStore& store, Index row)
      : p(static_cast<Bf16*>(store.data) + row * store.stride) {}
  [[gnu::always_inline]] typename S::V load(Index d, Index n) const {
    return n >= S::kLanes ? S::load_bf16(p + d) : S::load_bf16(p + d, n);
  }
  [[gnu::always_inline]] void store(Index d, Index n, typename S::V v, typename S::I noise) const {
    S::store_bf16(p + d, v, noise, n);
  }
  [[gnu::always_inline]] void ask_for(Index d) const { __builtin_prefetch(p + d, 1, 2); }
};

// body(d, n): n columns from d on, whole vectors but for the last.
template <class S, class Body>
[[gnu::always_inline]] inline void for_columns(Index columns, const Body& body) {
  Index d = 0;
  for (; d + S::kLanes <= columns; d += S::kLanes) body(d, Index{S::kLanes});
  if (d < columns) body(d, columns - d);
}

// The rows of one pair of types, kRow: one square for a row.
template <class S, Type kValue, Type kMoment, bool kRow>
struct RowsOf {
  using V = typename S::V;
  using I = typename S::I;
  static constexpr bool kNoise = kValue == Type::bf16 || kMoment == Type::bf16;
  static constexpr Index kRowsAhead = 12;

  struct Place {
    StoredRow<S, kValue> value;
    StoredRow<S, kMoment> mean;
    StoredRow<S, kRow ? Type::f32 : kMoment> square;
    Place(const AdamTable& t, Index row)
        : value(t.value, row), mean(t.mean, row), square(t.square, row) {}
    [[gnu::always_inline]] void ask_for(Index d) const {
      value.ask_for(d), mean.ask_for(d);
      if (!kRow) square.ask_for(d);
    }
  };
  struct Noise {
    I first, second;
    [[gnu::always_inline]] Noise(std::uint32_t key, Index row, Index d)
        : first(S::noise(static_cast<std::uint32_t>(row) * kNoiseRow ^ key, d)),
          second(S::noise(static_cast<std::uint32_t>(row) * kNoiseRow ^ ~key, d)) {}
    [[gnu::always_inline]] I of_value() const { return S::low(first); }
    [[gnu::always_inline]] I of_mean() const { return S::high(first); }
    [[gnu::always_inline]] I of_square() const { return S::low(second); }
  };
  static Place later(const AdamTable& table, View<const std::int64_t, 1> row_R, Index r) {
    return Place(table, r + kRowsAhead < row_R.size(0) ? row_R(r + kRowsAhead) : row_R(r));
  }

  static void adam(const AdamRows& args) {
    const V factor = S::set(args.factor), decay = S::set(args.decay), beta1 = S::set(args.beta1),
            beta2 = S::set(args.beta2), rest1 = S::set(1 - args.beta1),
            rest2 = S::set(1 - args.beta2);
    const Index columns = args.grad_RD.size(1);
    for (Index r = 0; r < args.row_R.size(0); ++r) {
      const Index row = args.row_R(r);
      const Place at(args.table, row), ahead = later(args.table, args.row_R, r);
      const float* g = args.grad_RD.row(r);
      const AdamStep& step = args.step[args.own_steps ? r : 0];
      const V rate = S::set(-step.rate), root = S::set(step.root), epsilon = S::set(step.epsilon);
      const auto gradient = [&](Index d, Index n) {
        return S::mul(factor, n >= S::kLanes ? S::load(g + d) : S::load(g + d, n));
      };
      V square = S::zero();
      if constexpr (kRow) {
        V sum = S::zero();
        for_columns<S>(columns, [&](Index d, Index n) {
          const V gd = gradient(d, n);
          sum = S::fma(gd, gd, sum);
        });
        *at.square.p = args.beta2 * *at.square.p +
                       (1 - args.beta2) * (S::sum(sum) / static_cast<float>(columns));
        square = S::set(*at.square.p);
      }
      for_columns<S>(columns, [&](Index d, Index n) {
        ahead.ask_for(d);
        const V gd = gradient(d, n);
        const V mean = S::fma(beta1, at.mean.load(d, n), S::mul(rest1, gd));
        if constexpr (!kRow)
          square = S::fma(beta2, at.square.load(d, n), S::mul(rest2, S::mul(gd, gd)));
        const V move = S::div(mean, S::fma(root, S::sqrt(square), epsilon));
        put(at, args.key, row, d, n, S::fma(rate, move, S::mul(decay, at.value.load(d, n))), mean,
            square);
      });
    }
  }

  static void move(const MoveRows& args) {
    for (Index r = 0; r < args.row_R.size(0); ++r) {
      const Index row = args.row_R(r);
      const RowMove& move = args.move[r];
      const Place at(args.table, row), ahead = later(args.table, args.row_R, r);
      const V decay = S::set(move.decay), rate = S::set(-move.rate), epsilon = S::set(move.epsilon),
              mean_factor = S::set(move.mean), square_factor = S::set(move.square);
      const V of_row = kRow ? S::set(*at.square.p) : S::zero();
      for_columns<S>(args.table.columns, [&](Index d, Index n) {
        ahead.ask_for(d);
        const V mean = at.mean.load(d, n), square = kRow ? of_row : at.square.load(d, n);
        const V step = S::div(mean, S::add(S::sqrt(square), epsilon));
        put(at, args.key, row, d, n, S::fma(rate, step, S::mul(decay, at.value.load(d, n))),
            S::mul(mean_factor, mean), S::mul(square_factor, square));
      });
      if constexpr (kRow) *at.square.p *= move.square;
    }
  }

 private:
  [[gnu::always_inline]] static void put(const Place& at, std::uint32_t key, Index row, Index d,
                                         Index n, V value, V mean, V square) {
    if constexpr (kNoise) {
      const Noise noise(key, row, d);
      at.value.store(d, n, value, noise.of_value());
      at.mean.store(d, n, mean, noise.of_mean());
      if constexpr (!kRow) at.square.store(d, n, square, noise.of_square());
    } else {
      at.value.store(d, n, value, I{});
      at.mean.store(d, n, mean, I{});
      if constexpr (!kRow) at.square.store(d, n, square, I{});
    }
  }
};

template <class S, Type kValue, Type kMoment, class Body>
[[gnu::always_inline]] inline void with_square(const AdamTable& table, const Body& body) {
  table.row_square ? body(RowsOf<S, kValue, kMoment, true>{})
                   : body(RowsOf<S, kValue, kMoment, false>{});
}

// body(rows) with the RowsOf of a table's types.
template <class S, class Body>
[[gnu::always_inline]] inline void with_types(const AdamTable& table, const Body& body) {
  const bool narrow = table.value.type == Type::bf16, short_moments = table.mean.type == Type::bf16;
  if (narrow && short_moments) return with_square<S, Type::bf16, Type::bf16>(table, body);
  if (narrow) return with_square<S, Type::bf16, Type::f32>(table, body);
  if (short_moments) return with_square<S, Type::f32, Type::bf16>(table, body);
  with_square<S, Type::f32, Type::f32>(table, body);
}

template <class S>
void adam_rows_vector(const AdamRows& args) {
  with_types<S>(args.table, [&](auto rows) { decltype(rows)::adam(args); });
}
template <class S>
void move_rows_vector(const MoveRows& args) {
  with_types<S>(args.table, [&](auto rows) { decltype(rows)::move(args); });
}

}  // namespace
}  // namespace mote::kernels
