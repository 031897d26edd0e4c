// Blocks of q16 products with 8-bit activations:  y = s (max S+ + min S-), S+ and S- whole numbers.
#pragma once

#include "kernels/packed/product/int8_rows_vector.h"
#include "kernels/packed/q16/q16_block.h"

namespace mote::kernels {
namespace {

struct Int8Sums {
  std::int32_t plus = 0, minus = 0;
};

[[gnu::always_inline]] inline float finished(const Q16Matrix& w, Index row, const Int8Sums& sums,
                                             float scale) {
  const float above = w.maximum(row) * static_cast<float>(sums.plus);
  return scale * __builtin_fmaf(w.minimum(row), static_cast<float>(sums.minus), above);
}

// One row times one token. A slot adds 32 bits of a quad: x to the lower half, x to the upper half or
// nothing, so that a sum is S+ + 65536 S-. It is taken apart before S+ can leave 16 bits.
[[gnu::always_inline]] inline Int8Sums row_times_int8(const Q16Matrix& w, const std::uint16_t* code,
                                                      const std::uint16_t* end,
                                                      const std::int16_t* quads) {
  constexpr Index kAtOnce = 256;  // 256 * 127 < 2^15, in each of the three slots
  Int8Sums sums;
  while (code < end) {
    const std::uint16_t* stop = end - code > kAtOnce ? code + kAtOnce : end;
    std::int32_t slots[3] = {};
    const auto add = [&](std::uint64_t entry) __attribute__((always_inline)) {
      std::int32_t both;
      __builtin_memcpy(&both, quads + (entry & 0xff), 4);
      slots[0] += both;
      __builtin_memcpy(&both, quads + (entry >> 8 & 0xff), 4);
      slots[1] += both;
      entry >>= 16;
      __builtin_memcpy(&both, quads + (entry & 0xff), 4);
      slots[2] += both;
      quads += 4 * (entry >> 8);
    };
    for (; code + 2 <= stop; code += 2) {
      add(w.entries[code[0]]);
      add(w.entries[code[1]]);
    }
    if (code < stop) add(w.entries[*code++]);
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s) {
      const auto low = static_cast<std::int16_t>(slots[s]);
      sums.plus += low;
      sums.minus += (slots[s] - low) >> 16;
    }
  }
  return sums;
}

[[gnu::always_inline]] inline void int8_block_of_one_token(const Q16Block& block) {
  const Q16Matrix& w = block.w;
  const auto* quads = reinterpret_cast<const std::int16_t*>(block.layout + kQ16Int8Header);
  const float scale = *reinterpret_cast<const float*>(block.layout);
  const std::uint16_t* code = w.codes + w.row_begin(block.first);
  for (Index row = block.first; row < block.first + block.count; ++row) {
    const std::uint16_t* end = w.codes + w.row_end(row);
    block.y.data[row] = finished(w, row, row_times_int8(w, code, end, quads), scale);
    code = end;
  }
}

// For the byte of a slot: all ones where it adds to S+ (trit 2), and where to S- (trit 1).
struct MaskTable {
  std::int32_t plus[128], minus[128];
};
constexpr MaskTable make_masks() {
  MaskTable made{};
  for (int byte = 0; byte < 128; ++byte) {
    made.plus[byte] = byte % 4 == 2 ? -1 : 0;
    made.minus[byte] = byte % 4 == 1 ? -1 : 0;
  }
  return made;
}
constexpr MaskTable kMasks = make_masks();

// Sums of kLanes lanes of 16 bits.
template <int kHalves>
struct WordsAvx2 {
  static constexpr int kLanes = 16 * kHalves;
  __m256i plus[kHalves], minus[kHalves];

  [[gnu::always_inline]] void clear() {
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) plus[half] = minus[half] = _mm256_setzero_si256();
  }
  [[gnu::always_inline]] void add(const std::int16_t* x, std::uint32_t byte) {
    const __m256i above = _mm256_set1_epi32(kMasks.plus[byte]);
    const __m256i below = _mm256_set1_epi32(kMasks.minus[byte]);
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x) + half);
      plus[half] = _mm256_add_epi16(plus[half], _mm256_and_si256(v, above));
      minus[half] = _mm256_add_epi16(minus[half], _mm256_and_si256(v, below));
    }
  }
  [[gnu::always_inline]] void flush(std::int32_t* plus_L, std::int32_t* minus_L) const {
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      add_words(plus[half], plus_L + 16 * half);
      add_words(minus[half], minus_L + 16 * half);
    }
  }
  [[gnu::always_inline]] static void add_words(__m256i words, std::int32_t* sums) {
    auto* at = reinterpret_cast<__m256i*>(sums);
    const __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words));
    const __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1));
    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), low));
    _mm256_storeu_si256(at + 1, _mm256_add_epi32(_mm256_loadu_si256(at + 1), high));
  }
};

#if defined(__AVX512BW__)
struct WordsAvx512 {
  static constexpr int kLanes = 32;
  __m512i plus, minus;

  [[gnu::always_inline]] void clear() { plus = minus = _mm512_setzero_si512(); }
  [[gnu::always_inline]] void add(const std::int16_t* x, std::uint32_t byte) {
    const __m512i v = _mm512_loadu_si512(x);
    plus = _mm512_mask_add_epi16(plus, static_cast<__mmask32>(kMasks.plus[byte]), plus, v);
    minus = _mm512_mask_add_epi16(minus, static_cast<__mmask32>(kMasks.minus[byte]), minus, v);
  }
  [[gnu::always_inline]] void flush(std::int32_t* plus_L, std::int32_t* minus_L) const {
    using Half = WordsAvx2<1>;
    Half::add_words(_mm512_castsi512_si256(plus), plus_L);
    Half::add_words(_mm512_extracti64x4_epi64(plus, 1), plus_L + 16);
    Half::add_words(_mm512_castsi512_si256(minus), minus_L);
    Half::add_words(_mm512_extracti64x4_epi64(minus, 1), minus_L + 16);
  }
};
#endif

template <class S>
[[gnu::always_inline]] inline void int8_block_of_tokens(const Q16Block& block) {
  constexpr Index kAtOnce = 85;  // codewords whose sums fit 16 bits: 85 * 3 * 127 < 2^15
  const Q16Matrix& w = block.w;
  const auto* scales = reinterpret_cast<const float*>(block.layout);
  const auto* lanes_IL = reinterpret_cast<const std::int16_t*>(block.layout + kQ16Int8Header);
  const Index tokens = block.y.size(0);
  const std::uint16_t* code = w.codes + w.row_begin(block.first);
  for (Index row = block.first; row < block.first + block.count; ++row) {
    alignas(64) std::int32_t plus[S::kLanes] = {}, minus[S::kLanes] = {};
    const std::int16_t* x = lanes_IL;
    const std::uint16_t* end = w.codes + w.row_end(row);
    while (code < end) {
      const std::uint16_t* stop = end - code > kAtOnce ? code + kAtOnce : end;
      S sums;
      sums.clear();
      for (; code < stop; ++code) {
        const std::uint32_t entry = w.entries[*code];
#pragma GCC unroll 3
        for (int s = 0; s < 3; ++s) {
          const std::uint32_t byte = entry >> 8 * s & 0xff;
          sums.add(x + (byte >> 2) * S::kLanes, byte);
        }
        x += S::kLanes * q16_width(entry);
      }
      sums.flush(plus, minus);
    }
    for (Index t = 0; t < tokens; ++t)
      block.y(t, row) = finished(w, row, {plus[t], minus[t]}, scales[t]);
  }
}

template <class Lanes16, class Lanes32>
[[gnu::always_inline]] inline void q16_int8_block(const Q16Block& block) {
  const Index tokens = block.y.size(0);
  if (tokens == 1) return int8_block_of_one_token(block);
  if (q16_int8_lanes(tokens) == 16) return int8_block_of_tokens<Lanes16>(block);
  int8_block_of_tokens<Lanes32>(block);
}

// The layouts of q16_block.h, by rows rounded to 8 bits in the room behind them.
template <class S>
[[gnu::always_inline]] inline void q16_lay_out_int8(const Q16Layout& to) {
  const Index tokens = to.x.size(0), columns = to.w.columns, lanes = q16_int8_lanes(tokens);
  auto* scales = reinterpret_cast<float*>(to.layout);
  auto* words = reinterpret_cast<std::int16_t*>(to.layout + kQ16Int8Header);
  std::byte* place = to.layout + kQ16Int8Header + 2 * columns * (tokens == 1 ? 4 : lanes);
  place += (64 - reinterpret_cast<std::uintptr_t>(place) % 64) % 64;
  for (Index t = 0; t < tokens; ++t) {
    round_to_int8<S>(to.x.row(t), columns, place);
    const auto& row = *reinterpret_cast<const Int8Row*>(place);
    const std::int8_t* x8 = int8_values(row);
    scales[t] = row.scale;
    if (tokens == 1) {
      for (Index i = 0; i < columns; ++i) {
        words[4 * i] = words[4 * i + 1] = 0;
        words[4 * i + 2] = x8[i];
        words[4 * i + 3] = static_cast<std::int16_t>(x8[i] < 0 ? -1 : 0);
      }
    } else {
      for (Index i = 0; i < columns; ++i) words[lanes * i + t] = x8[i];
    }
  }
  if (tokens > 1)
    for (Index i = 0; i < columns; ++i)
      for (Index t = tokens; t < lanes; ++t) words[lanes * i + t] = 0;
}

}  // namespace
}  // namespace mote::kernels
