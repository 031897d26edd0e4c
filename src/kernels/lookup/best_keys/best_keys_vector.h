// The best of many keys for any instruction set with products of bytes; included by the variant files
// only.
//
// Bytes of a query are made positive by adding kQuery + 1, which the sums of a key's bytes take off again.
// A panel of kVectors * lanes keys is multiplied with kRows queries at a time, eight columns a step.
#pragma once

#include "kernels/lookup/best_keys/best_keys.h"
#include "kernels/routing/topk/topk_vector.h"

namespace mote::kernels {
namespace {

// q8 in [-kQuery, kQuery], c_j in [-kKey, kKey]. Without a sum in 32 bits of four products, two pairs
// of products meet in 16 bits: 4 * 127 * 64 = 32,512 at most.
struct CodesAvx2 : RankAvx2 {
  static constexpr int kQuery = 63, kKey = 64, kRows = 4, kVectors = 2;
  [[gnu::always_inline]] static I load_codes(const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  // Four bytes in every lane.
  [[gnu::always_inline]] static I four(const std::uint8_t* p) {
    std::int32_t word;
    __builtin_memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
  }
  [[gnu::always_inline]] static I multiply(I sums, I q0, I key0, I q1, I key1) {
    const I pairs =
        _mm256_add_epi16(_mm256_maddubs_epi16(q0, key0), _mm256_maddubs_epi16(q1, key1));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  [[gnu::always_inline]] static V floats(I sums) { return _mm256_cvtepi32_ps(sums); }
  [[gnu::always_inline]] static I minus_times(I sums, const std::uint8_t* others, int factor) {
    return _mm256_sub_epi32(sums,
                            _mm256_mullo_epi32(load_codes(others), _mm256_set1_epi32(factor)));
  }
  // Whole numbers plus `more`, the low byte of each.
  [[gnu::always_inline]] static void store_bytes(std::uint8_t* to, V whole, int more) {
    const __m256i sums =
        _mm256_and_si256(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(more)),
                         _mm256_set1_epi32(255));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
  [[gnu::always_inline]] static V magnitude(V v) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
  }
  // The sum of each vector's lanes.
  [[gnu::always_inline]] static void store_sums(float* to, V (&v)[8]) {
    transpose(v);
    store(to, add(add(add(v[0], v[1]), add(v[2], v[3])), add(add(v[4], v[5]), add(v[6], v[7]))));
  }
};

#if defined(__AVXVNNI__)
struct CodesAvx2Vnni : CodesAvx2 {
  static constexpr int kQuery = 127, kKey = 127;
  [[gnu::always_inline]] static I multiply(I sums, I q0, I key0, I q1, I key1) {
    return _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(sums, q0, key0), q1, key1);
  }
};
#endif

#if defined(__AVX512BW__)
struct CodesAvx512 : RankAvx512 {
  static constexpr int kQuery = 63, kKey = 64, kRows = 8, kVectors = 2;
  [[gnu::always_inline]] static I load_codes(const std::uint8_t* p) {
    return _mm512_loadu_si512(p);
  }
  [[gnu::always_inline]] static I four(const std::uint8_t* p) {
    std::int32_t word;
    __builtin_memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
  }
  [[gnu::always_inline]] static I multiply(I sums, I q0, I key0, I q1, I key1) {
    const I pairs =
        _mm512_add_epi16(_mm512_maddubs_epi16(q0, key0), _mm512_maddubs_epi16(q1, key1));
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  [[gnu::always_inline]] static V floats(I sums) { return _mm512_cvtepi32_ps(sums); }
  [[gnu::always_inline]] static I minus_times(I sums, const std::uint8_t* others, int factor) {
    return _mm512_sub_epi32(sums,
                            _mm512_mullo_epi32(load_codes(others), _mm512_set1_epi32(factor)));
  }
  [[gnu::always_inline]] static void store_bytes(std::uint8_t* to, V whole, int more) {
    const I sums = _mm512_add_epi32(_mm512_cvtps_epi32(whole), _mm512_set1_epi32(more));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(sums));
  }
  [[gnu::always_inline]] static V magnitude(V v) { return _mm512_abs_ps(v); }
  [[gnu::always_inline]] static void store_sums(float* to, V (&v)[8]) {
    __m256 halves[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      halves[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
    CodesAvx2::store_sums(to, halves);
  }
};
#endif

#if defined(__AVX512VNNI__)
struct CodesAvx512Vnni : CodesAvx512 {
  static constexpr int kQuery = 127, kKey = 127;
  [[gnu::always_inline]] static I multiply(I sums, I q0, I key0, I q1, I key1) {
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums, q0, key0), q1, key1);
  }
};
#endif

constexpr Index kMostColumns = 1024;

// A row x = scale * code + rest. Rounding of what is computed here is in `rest`.
struct Rounded {
  bool usable;       // not: not finite, or too large or small to be divided by
  float scale;       // 0 where x is
  float norm;        // at least |x|
  float code, rest;  // at least |scale code|, |rest|
};

// body(c, v) with a row's numbers from c on, zeros behind the last, up to `filled`.
template <class S, class Body>
[[gnu::always_inline]] inline void for_vectors(const float* x, Index columns, Index filled,
                                               const Body& body) {
  Index c = 0;
  for (; c + S::kLanes <= columns; c += S::kLanes) body(c, S::load(x + c));
  for (; c < filled; c += S::kLanes) body(c, S::load(x + c, c < columns ? columns - c : 0));
}

// Writes the codes, plus `more`, as bytes up to a multiple of KeyLayout::kColumns, and a vector's length
// behind it.
template <class S>
[[gnu::always_inline]] inline Rounded round_row(const float* x, Index columns, int most, int more,
                                                std::uint8_t* bytes) {
  constexpr float kLargest = 1e15f, kSmallest = 1e-15f, kSlack = 1.0001f;
  const Index filled = KeyLayout(1, columns).columns;
  typename S::V largest = S::zero(), unordered = S::zero();
  for_vectors<S>(x, columns, columns, [&](Index, typename S::V v) {
    largest = S::max(largest, S::magnitude(v));
    unordered = S::fma(v, S::zero(), unordered);  // 0, or NaN where a number is not finite
  });
  const float bound = S::largest(largest);
  const bool finite = S::sum(unordered) == 0;
  const bool usable = finite && bound <= kLargest && bound >= kSmallest;
  const float scale = usable ? bound / static_cast<float>(most) : 0,
              times = usable ? static_cast<float>(most) / bound : 0;
  typename S::V squares = S::zero(), codes = S::zero(), rests = S::zero();
  for_vectors<S>(x, columns, filled, [&](Index c, typename S::V v) {
    const typename S::V scaled = S::mul(v, S::set(times)), whole = S::round(scaled),
                        rest = S::fma(S::set(-1.0f), whole, scaled);
    squares = S::fma(scaled, scaled, squares);
    codes = S::fma(whole, whole, codes);
    rests = S::fma(rest, rest, rests);
    S::store_bytes(bytes + c, whole, more);
  });
  if (!usable) return {finite && bound == 0, 0, 0, 0, 0};
  const auto norm = [&](typename S::V sum) {
    return scale * __builtin_sqrtf(S::sum(sum)) * kSlack;
  };
  // Each number of x / scale is off by less than 2^-22 of at most 127.
  const float off = scale * 3.1e-5f * __builtin_sqrtf(static_cast<float>(columns));
  return {true, scale, norm(squares) + off, norm(codes), norm(rests) + off};
}

template <class S>
void lay_out_keys(const LayOutKeys& args) {
  constexpr Index kPanel = S::kLanes * S::kVectors;
  const Index n = args.keys_NC.size(0), columns = args.keys_NC.size(1);
  const KeyLayout layout(n, columns);
  auto* scales = reinterpret_cast<float*>(args.to + layout.scales());
  auto* norms = reinterpret_cast<float*>(args.to + layout.norms());
  auto* sums = reinterpret_cast<std::int32_t*>(args.to + layout.sums());
  auto* codes = reinterpret_cast<std::uint8_t*>(args.to + layout.codes());
  auto& share = *reinterpret_cast<float*>(args.to + layout.share());
  float worst = 0;
  for (Index j = 0; j < layout.keys; ++j) {
    std::uint8_t code[kMostColumns + S::kLanes] = {};
    Rounded key{true, 0, 0, 0, 0};
    if (j < n) key = round_row<S>(args.keys_NC.row(j), columns, S::kKey, 0, code);
    if (!key.usable) {
      share = -1;
      return;
    }
    if (key.norm > 0 && key.rest > worst * key.norm) worst = key.rest / key.norm;
    scales[j] = key.scale, norms[j] = key.norm;
    std::int32_t sum = 0;
    std::uint8_t* to = codes + j / kPanel * kPanel * layout.columns + j % kPanel * 4;
    for (Index c = 0; c < layout.columns; c += 4) {
      __builtin_memcpy(to + c * kPanel, code + c, 4);
      for (Index i = 0; i < 4; ++i) sum += static_cast<std::int8_t>(code[c + i]);
    }
    sums[j] = sum;
  }
  share = worst * 1.0001f;
}

// Lower bounds of kRows queries and one panel:  out[r][j] = scale[r] t_j <q8, c_j> - error[r] |key j|.
template <class S, int kRows>
[[gnu::always_inline]] inline void lower_bounds(const std::uint8_t* q, const float* scale,
                                                const float* error, const std::byte* keys,
                                                const KeyLayout& layout, Index first, float* out) {
  constexpr Index kPanel = S::kLanes * S::kVectors;
  const auto* codes =
      reinterpret_cast<const std::uint8_t*>(keys + layout.codes()) + first * layout.columns;
  typename S::I sums[kRows][S::kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < S::kVectors; ++v) sums[r][v] = S::no_counts();
  for (Index c = 0; c < layout.columns; c += 8) {
    typename S::I key[2][S::kVectors];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half)
#pragma GCC unroll 4
      for (int v = 0; v < S::kVectors; ++v)
        key[half][v] = S::load_codes(codes + (c + 4 * half) * kPanel + 4 * v * S::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename S::I q0 = S::four(q + r * layout.columns + c),
                          q1 = S::four(q + r * layout.columns + c + 4);
#pragma GCC unroll 4
      for (int v = 0; v < S::kVectors; ++v)
        sums[r][v] = S::multiply(sums[r][v], q0, key[0][v], q1, key[1][v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < S::kVectors; ++v) {
    const Index j = first + v * S::kLanes;
    const typename S::V t = S::load(reinterpret_cast<const float*>(keys + layout.scales()) + j),
                        norm = S::load(reinterpret_cast<const float*>(keys + layout.norms()) + j);
    const auto* sum = reinterpret_cast<const std::uint8_t*>(keys + layout.sums() + 4 * j);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename S::V product =
          S::mul(S::floats(S::minus_times(sums[r][v], sum, S::kQuery + 1)), t);
      S::store(out + r * layout.keys + j,
               S::fma(product, S::set(scale[r]), S::mul(norm, S::set(-error[r]))));
    }
  }
}

// Keys that may be among the best of one query, in rising order. Whole vectors are written behind the last.
struct Candidates {
  std::int32_t* row;
  float *lower, *score;
  Index count;
};

// Those with  lower bound + width * |key| >= least.
template <class S>
[[gnu::always_inline]] inline void collect(const float* lower, const float* norms, Index n,
                                           float width, float least, Candidates& to) {
  const typename S::V bound = S::set(least), widths = S::set(width);
  Index count = 0;
  for (Index j = 0; j < n; j += S::kLanes) {
    const typename S::V mine = S::load(lower + j);
    unsigned reached = S::at_least(S::fma(widths, S::load(norms + j), mine), bound);
    if (n - j < S::kLanes) reached &= (1u << (n - j)) - 1;
    S::compress(reached, j, mine, to.row + count, to.lower + count);
    count += __builtin_popcount(reached);
  }
  to.count = count;
}

// score[i] = <q, key row[i]>, eight at a time; those behind the last are its own.
template <class S>
[[gnu::always_inline]] inline void score_keys(View<const float, 2> keys_NC, const float* q,
                                              const std::int32_t* row, Index count, float* score) {
  const Index columns = keys_NC.size(1);
  for (Index first = 0; first < count; first += 8) {
    const float* key[8];
    for (Index i = 0; i < 8; ++i)
      key[i] = keys_NC.row(row[first + i < count ? first + i : count - 1]);
    typename S::V sums[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] = S::zero();
    Index c = 0;
    for (; c + S::kLanes <= columns; c += S::kLanes) {
      const typename S::V x = S::load(q + c);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sums[i] = S::fma(S::load(key[i] + c), x, sums[i]);
    }
    if (c < columns) {
      const typename S::V x = S::load(q + c, columns - c);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sums[i] = S::fma(S::load(key[i] + c, columns - c), x, sums[i]);
    }
    S::store_sums(score + first, sums);
  }
}

// The smallest of `count` numbers.
template <class S>
[[gnu::always_inline]] inline float smallest_of(const float* numbers, Index count) {
  const typename S::V none = S::set(__builtin_inff());
  typename S::V smallest = none;
  for (Index i = 0; i < count; i += S::kLanes)
    smallest = S::min(smallest, S::first(S::load(numbers + i), none, count - i));
  return S::least(smallest);
}

// Those of `all` that `some` does not hold (its lower bounds are those that reach `bound`) are put into
// `others`, with what place they have; scores of the rest are copied.
inline void take_scores(const Candidates& some, float bound, Candidates& all, std::int32_t* place,
                        Candidates& others) {
  Index known = 0, open = 0;
  for (Index i = 0; i < all.count; ++i) {
    const bool is_known = all.lower[i] >= bound;
    all.score[i] = some.score[known];
    others.row[open] = all.row[i];
    place[open] = static_cast<std::int32_t>(i);
    known += is_known, open += !is_known;
  }
  others.count = open;
}

// A number that at least k of n lower bounds reach.
template <class S>
[[gnu::always_inline]] inline float reached_by(const float* lower, Index n, int k) {
  constexpr int kLeast = 16 / S::kLanes;
  if (k <= 8) return bound_of<S, kLeast>(lower, n, k);
  if (k <= 16) return bound_of<S, 2 * kLeast>(lower, n, k);
  return bound_of<S, 4 * kLeast>(lower, n, k);
}

// Scores the keys that may be among a query's best, and lists those that are.
template <class S>
[[gnu::always_inline]] inline void best_of_query(const BestKeys& args, Index m, const float* lower,
                                                 const float* norms, float error,
                                                 Candidates (&lists)[3], std::int32_t* place) {
  Candidates &sure = lists[0], &all = lists[1], &others = lists[2];
  const Index n = args.keys_NC.size(0);
  const int k = static_cast<int>(args.row_MK.size(1));
  const float* q = args.q_MC.row(m);
  // At least k keys whose lower bounds are the largest, and few more. Their scores are much closer to
  // the best ones than bounds are.
  const float bound = reached_by<S>(lower, n, k);
  collect<S>(lower, norms, n, 0, bound, sure);
  score_keys<S>(args.keys_NC, q, sure.row, sure.count, sure.score);
  const float least = smallest_of<S>(sure.score, sure.count);
  collect<S>(lower, norms, n, 2 * error, least, all);
  take_scores(sure, bound, all, place, others);
  score_keys<S>(args.keys_NC, q, others.row, others.count, others.score);
  for (Index i = 0; i < others.count; ++i) all.score[place[i]] = others.score[i];

  std::int32_t* list = args.row_MK.row(m);
  if (!list_of_row<S>(all.score, all.count, least, list, k))
    topk_of_row_plain(all.score, all.count, list, k);
  for (int r = 0; r < k; ++r) {
    args.score_MK(m, r) = all.score[list[r]];
    list[r] = all.row[list[r]];
  }
}

// The same with all keys scored.
template <class S>
[[gnu::always_inline]] inline void best_of_all(const BestKeys& args, Index m, Candidates& all) {
  const Index n = args.keys_NC.size(0), k = args.row_MK.size(1);
  for (Index j = 0; j < n; ++j) all.row[j] = static_cast<std::int32_t>(j);
  score_keys<S>(args.keys_NC, args.q_MC.row(m), all.row, n, all.score);
  topk_of_row_plain(all.score, n, args.row_MK.row(m), k);
  for (Index r = 0; r < k; ++r) args.score_MK(m, r) = all.score[args.row_MK(m, r)];
}

template <class S>
void best_keys(const BestKeys& args) {
  constexpr Index kPanel = S::kLanes * S::kVectors, kMost = BestKeys::kQueries;
  const Index queries = args.q_MC.size(0), columns = args.q_MC.size(1), n = args.keys_NC.size(0);
  const KeyLayout layout(n, columns);
  const auto* norms = reinterpret_cast<const float*>(args.keys + layout.norms());
  const float share = *reinterpret_cast<const float*>(args.keys + layout.share());
  // Of a sum of float32 products in any order, and of the bounds themselves.
  const float rounding = static_cast<float>(columns + 32) * 0x1p-23f;
  auto* bytes = reinterpret_cast<std::uint8_t*>(args.work);
  auto* lower = reinterpret_cast<float*>(args.work + kMost * layout.columns);
  float* list = lower + kMost * layout.keys;
  const Index length = BestKeys::list_length(layout);
  const auto take = [&] { return (list += length) - length; };
  Candidates lists[3];
  for (Candidates& each : lists)
    each = {reinterpret_cast<std::int32_t*>(take()), take(), take(), 0};
  auto* place = reinterpret_cast<std::int32_t*>(take());

  for (Index begin = 0; begin < queries; begin += kMost) {
    const Index count = queries - begin < kMost ? queries - begin : kMost;
    float scale[kMost], error[kMost];
    for (Index m = 0; m < count; ++m) {
      const Rounded q = round_row<S>(args.q_MC.row(begin + m), columns, S::kQuery, S::kQuery + 1,
                                     bytes + m * layout.columns);
      scale[m] = q.scale;
      error[m] = (q.code * share + q.rest + (q.code + q.rest) * rounding) * 1.0001f;
    }
    for (Index j = 0; j < n; j += kPanel) {
      Index m = 0;
      for (; m + S::kRows <= count; m += S::kRows)
        lower_bounds<S, S::kRows>(bytes + m * layout.columns, scale + m, error + m, args.keys,
                                  layout, j, lower + m * layout.keys);
      for (; m < count; ++m)
        lower_bounds<S, 1>(bytes + m * layout.columns, scale + m, error + m, args.keys, layout, j,
                           lower + m * layout.keys);
    }
    for (Index m = 0; m < count; ++m)
      if (scale[m] > 0)
        best_of_query<S>(args, begin + m, lower + m * layout.keys, norms, error[m], lists, place);
      else
        best_of_all<S>(args, begin + m, lists[1]);
  }
}

}  // namespace
}  // namespace mote::kernels
