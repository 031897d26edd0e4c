// Blocks of products with rows of GGUF's blocks, 16 rows in the lanes of vectors.
//
// kBlockDepth columns of 16 rows are unpacked at a time into panels in the L1 cache, which all tokens
// of the chunk pass; one token alone in 8 bits passes codes as they are unpacked. What is summed, and
// in which order, is the same for any number of tokens:
//   float32  two chains, of even and of odd columns; added at the end
//   8 bits   whole numbers within a group of 32 (or 16) columns, then a chain over the groups, and one
//            over residuals, of all groups of a block where one of them has some; added at the end
#pragma once

#include "kernels/packed/block_rows/block_rows_unpack.h"
#include "kernels/packed/product/int8_rows_vector.h"

namespace mote::kernels {
namespace {

constexpr Index kMostTogether = 8;  // tokens

// ---- float32

// Columns of one panel as floats: body(column, values of kRows rows).
template <class S, class Type, class Body>
[[gnu::always_inline]] inline void panel_values(const BlockPanel& panel, int row,
                                                const Body& body) {
  using V = typename S::V;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const int from = Type::kHalves ? half : 0;
    const V scale = S::load(panel.scales[from] + row);
    V offset = S::zero();
    if constexpr (Type::kOffsets) offset = S::load(panel.offsets[from] + row);
#pragma GCC unroll 4
    for (int word = 4 * half; word < 4 * half + 4; ++word) {
      const typename S::W codes = S::load_words(panel.codes[word][row]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        typename S::W code =
            i == 3 ? S::right(codes, 24) : S::both(S::right(codes, 8 * i), S::words(255));
        if constexpr (Type::kZero != 0) code = S::minus(code, S::words(Type::kZero));
        const V q = S::floats(code);
        body(4 * word + i, Type::kOffsets ? S::fma(scale, q, offset) : S::mul(scale, q));
      }
    }
  }
}

// Sums of one token, values made as they are used.
template <class S, class Type>
[[gnu::always_inline]] inline void times_panels(const BlockPanel* panels, Index count,
                                                const float* x, float (&sums)[2][kBlockPanelRows]) {
  using V = typename S::V;
  for (int row = 0; row < kBlockPanelRows; row += S::kRows) {
    V sum[2] = {S::load(sums[0] + row), S::load(sums[1] + row)};
    for (Index p = 0; p < count; ++p)
      panel_values<S, Type>(
          panels[p], row, [&](int column, V value) __attribute__((always_inline)) {
            sum[column % 2] =
                S::fma(value, S::broadcast(x + p * kBlockGroup + column), sum[column % 2]);
          });
    S::store(sums[0] + row, sum[0]);
    S::store(sums[1] + row, sum[1]);
  }
}

template <class S, int kTokens>
[[gnu::always_inline]] inline void times_values(const float (*values)[kBlockPanelRows],
                                                Index columns, const float* x, Index stride,
                                                float (*sums)[2][kBlockPanelRows]) {
  using V = typename S::V;
  for (int row = 0; row < kBlockPanelRows; row += S::kRows) {
    V sum[kTokens][2];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      sum[t][0] = S::load(sums[t][0] + row);
      sum[t][1] = S::load(sums[t][1] + row);
    }
    for (Index column = 0; column < columns; column += 2)
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        const V value = S::load(values[column + odd] + row);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t)
          sum[t][odd] = S::fma(value, S::broadcast(x + t * stride + column + odd), sum[t][odd]);
      }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      S::store(sums[t][0] + row, sum[t][0]);
      S::store(sums[t][1] + row, sum[t][1]);
    }
  }
}

// ---- 8 bits

struct DotsAvx2 : WordsAvx2 {
  static constexpr Index kTogether = 4;
  // Codes of eight bits are taken as signed.
  template <int kMost>
  static constexpr bool kSigned = kMost > 63;
  [[gnu::always_inline]] static W four(const std::int8_t* x) {
    std::int32_t word;
    __builtin_memcpy(&word, x, 4);
    return _mm256_set1_epi32(word);
  }
  // Lanes of sums of 32 codes with a sign times x, which bytes_start() has to be added to.
  [[gnu::always_inline]] static W bytes_dot(const std::byte* codes, const std::int8_t* x) {
    const W q = _mm256_loadu_si256(reinterpret_cast<const W*>(codes));
    const W pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(load_words(x), q));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
  [[gnu::always_inline]] static int bytes_start(int) { return 0; }
  // Sums of one code word after another, which whole() finishes: of up to four words of codes up to 31
  // in 16 bits.
  template <int kMost>
  static constexpr bool kShort = kMost <= 31;
  template <int kMost>
  [[gnu::always_inline]] static W dot(W sum, W q, const std::int8_t* x) {
    W b = four(x);
    if constexpr (kSigned<kMost>) {
      b = _mm256_sign_epi8(b, q);
      q = _mm256_abs_epi8(q);
    }
    const W pairs = _mm256_maddubs_epi16(q, b);
    if constexpr (kShort<kMost>) return _mm256_add_epi16(sum, pairs);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  template <int kMost>
  [[gnu::always_inline]] static W whole(W sum) {
    return kShort<kMost> ? _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) : sum;
  }
  // Four words of codes times 16 columns of x. Pairs are at most 2 * 31 * 127 = 7,874, four of which
  // 16 bits hold, or 2 * 63 * 127 = 16,002, two of which they hold, or 2 * 128 * 127 = 32,512.
  template <int kMost>
  [[gnu::always_inline]] static W dots(W sum, const W (&q)[4], const std::int8_t* x) {
    const W ones = _mm256_set1_epi16(1);
    W pairs[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      W a = q[j], b = four(x + 4 * j);
      if constexpr (kSigned<kMost>) {
        b = _mm256_sign_epi8(b, a);
        a = _mm256_abs_epi8(a);
      }
      pairs[j] = _mm256_maddubs_epi16(a, b);
    }
    if constexpr (kMost <= 31) {
      const W all = _mm256_add_epi16(_mm256_add_epi16(pairs[0], pairs[1]),
                                     _mm256_add_epi16(pairs[2], pairs[3]));
      return _mm256_add_epi32(sum, _mm256_madd_epi16(all, ones));
    } else if constexpr (kMost <= 63) {
#pragma GCC unroll 2
      for (int j = 0; j < 4; j += 2)
        sum = _mm256_add_epi32(sum,
                               _mm256_madd_epi16(_mm256_add_epi16(pairs[j], pairs[j + 1]), ones));
      return sum;
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs[j], ones));
      return sum;
    }
  }
};

#if defined(__AVXVNNI__)
struct DotsAvx2Vnni : WordsAvx2 {
  static constexpr Index kTogether = 4;
  [[gnu::always_inline]] static W bytes_dot(const std::byte* codes, const std::int8_t* x) {
    const W q = flipped(_mm256_loadu_si256(reinterpret_cast<const W*>(codes)),
                        words(static_cast<int>(0x80808080)));
    return _mm256_dpbusd_avx_epi32(words(0), q, load_words(x));
  }
  [[gnu::always_inline]] static int bytes_start(int start) { return start; }
  template <int kMost>
  static constexpr bool kSigned = false;
  template <int kMost>
  static constexpr bool kShort = false;
  template <int>
  [[gnu::always_inline]] static W dot(W sum, W q, const std::int8_t* x) {
    return _mm256_dpbusd_avx_epi32(sum, q, DotsAvx2::four(x));
  }
  template <int>
  [[gnu::always_inline]] static W whole(W sum) {
    return sum;
  }
  template <int kMost>
  [[gnu::always_inline]] static W dots(W sum, const W (&q)[4], const std::int8_t* x) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum = _mm256_dpbusd_avx_epi32(sum, q[j], DotsAvx2::four(x + 4 * j));
    return sum;
  }
};
#endif

#if defined(__AVX512VNNI__)
struct DotsAvx512Vnni : WordsAvx512 {
  static constexpr Index kTogether = kMostTogether;
  template <int kMost>
  static constexpr bool kSigned = false;
  template <int kMost>
  static constexpr bool kShort = false;
  template <int>
  [[gnu::always_inline]] static W dot(W sum, W q, const std::int8_t* x) {
    std::int32_t word;
    __builtin_memcpy(&word, x, 4);
    return _mm512_dpbusd_epi32(sum, q, _mm512_set1_epi32(word));
  }
  template <int>
  [[gnu::always_inline]] static W whole(W sum) {
    return sum;
  }
  template <int kMost>
  [[gnu::always_inline]] static W dots(W sum, const W (&q)[4], const std::int8_t* x) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      std::int32_t word;
      __builtin_memcpy(&word, x + 4 * j, 4);
      sum = _mm512_dpbusd_epi32(sum, q[j], _mm512_set1_epi32(word));
    }
    return sum;
  }
};
#endif

template <class S, class Type, int kTokens>
[[gnu::always_inline]] inline void times_panels_int8(const BlockPanel* panels, Index count,
                                                     const BlockInt8* x, Index stride,
                                                     float (*sums)[2][kBlockPanelRows],
                                                     int chain = 0) {
  using V = typename S::V;
  using W = typename S::W;
  constexpr bool kSigned = S::template kSigned<Type::kMost>;
  for (int row = 0; row < kBlockPanelRows; row += S::kRows) {
    V sum[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[t] = S::load(sums[t][chain] + row);
    for (Index p = 0; p < count; ++p) {
      const BlockPanel& panel = panels[p];
      W whole[kTokens];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        if (half == 0 || Type::kHalves)
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t)
            whole[t] = S::words(kSigned ? 0 : x[t * stride + p].start[half]);
        W q[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          q[j] = S::load_words(panel.codes[4 * half + j][row]);
          if constexpr (kSigned) q[j] = S::flipped(q[j], S::words(static_cast<int>(0x80808080)));
        }
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t)
          whole[t] = S::template dots<Type::kMost>(whole[t], q, x[t * stride + p].x + 16 * half);
        if (half == 0 && !Type::kHalves) continue;
        const int from = Type::kHalves ? half : 0;
        const V scale = S::load(panel.scales[from] + row);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const BlockInt8& at = x[t * stride + p];
          sum[t] = S::fma(S::floats(whole[t]), S::mul(scale, S::set(at.scale)), sum[t]);
          if constexpr (Type::kOffsets)
            sum[t] = S::fma(S::load(panel.offsets[from] + row), S::set(at.sum[from]), sum[t]);
        }
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) S::store(sums[t][chain] + row, sum[t]);
  }
}

// body(the first group) of each block of which some group has a residual; `residuals` are those of
// kBlockDepth columns.
template <class Type, class Body>
[[gnu::always_inline]] inline void for_residuals(std::uint32_t residuals, const Body& body) {
  constexpr std::uint32_t kBlock = (1u << Type::kPanels) - 1;
  for (Index group = 0; residuals >> group != 0; group += Type::kPanels)
    if (residuals >> group & kBlock) body(group);
}

// ---- what both share

// The 16 rows of a panel, the last one again in the place of rows that there are not.
struct RowPointers {
  const std::byte* at[kBlockPanelRows];
  [[gnu::always_inline]] RowPointers(const BlockMatrix& w, Index first) {
    for (Index r = 0; r < kBlockPanelRows; ++r) {
      const Index row = first + r < w.rows ? first + r : w.rows - 1;
      at[r] = w.blocks + row * w.row_bytes();
    }
  }
  [[gnu::always_inline]] void advance(Index bytes) {
    for (const std::byte*& p : at) p += bytes;
  }
};

// Bytes that are asked for beyond the next panel's.
constexpr Index kBlockAhead = 4 << 10;

// Of one block of each row. `next` is where as many bytes of the next panel lie.
template <class Type>
[[gnu::always_inline]] inline void prefetch(const char*& next) {
  for (Index byte = 0; byte < kBlockPanelRows * Type::kBytes; byte += 64)
    __builtin_prefetch(next + byte + kBlockAhead);
  next += kBlockPanelRows * Type::kBytes;
}

// The panels of up to kBlockDepth columns from where the rows stand on, which move on.
template <class S, class Type>
[[gnu::always_inline]] inline void unpack(RowPointers& rows, Index columns, const char*& next,
                                          BlockRoom& room) {
  for (Index column = 0; column < columns; column += kBlockGroup * Type::kPanels) {
    prefetch<Type>(next);
    for (int row = 0; row < kBlockPanelRows; row += S::kRows) {
      const PanelRows<S> panels{room.panels + column / kBlockGroup, row};
      Type::template unpack<S>(rows.at + row, panels);
    }
    rows.advance(Type::kBytes);
  }
}

template <int kTokens>
struct Together {};

// body(first token, Together<how many>): the tokens of a chunk, `most` or fewer together.
template <Index kMostTokens, class Body>
[[gnu::always_inline]] inline void for_tokens(Index tokens, const Body& body) {
  Index t = 0;
  if constexpr (kMostTokens >= 8)
    for (; t + 8 <= tokens; t += 8) body(t, Together<8>{});
  for (; t + 4 <= tokens; t += 4) body(t, Together<4>{});
  for (; t + 2 <= tokens; t += 2) body(t, Together<2>{});
  if (t < tokens) body(t, Together<1>{});
}

template <class S>
[[gnu::always_inline]] inline void finish_rows(const BlockRowsBlock& block, Index row, bool both,
                                               const BlockRoom& room) {
  const Index left = block.first + block.count - row;
  for (Index t = 0; t < block.x.size(0); ++t)
    for (int r = 0; r < kBlockPanelRows && r < left; r += S::kRows) {
      typename S::V sum = S::load(room.sums[t][0] + r);
      if (both) sum = S::add(sum, S::load(room.sums[t][1] + r));
      float* y = block.y.row(t) + row + r;
      if (left - r >= S::kRows)
        S::store(y, sum);
      else
        S::store(y, sum, left - r);
    }
}

template <class S, class Body>
[[gnu::always_inline]] inline void for_panels(const BlockRowsBlock& block, bool both,
                                              const Body& body) {
  auto& room = *reinterpret_cast<BlockRoom*>(block.panels);
  for (Index row = block.first; row < block.first + block.count; row += kBlockPanelRows) {
    for (Index t = 0; t < block.x.size(0); ++t)
      for (int i = 0; i < 2 * kBlockPanelRows; i += S::kRows)
        S::store(&room.sums[t][0][0] + i, S::zero());
    RowPointers rows(block.w, row);
    const char* next =
        reinterpret_cast<const char*>(rows.at[0]) + kBlockPanelRows * block.w.row_bytes();
    for (Index column = 0; column < block.w.columns; column += kBlockDepth) {
      const Index left = block.w.columns - column;
      body(rows, next, column, left < kBlockDepth ? left : kBlockDepth, room);
    }
    finish_rows<S>(block, row, both, room);
  }
}

template <class S>
[[gnu::always_inline]] inline void times_all_values(const float* x, Index stride, Index tokens,
                                                    Index columns, BlockRoom& room) {
  for_tokens<S::kRows == 16 ? 8 : 4>(
      tokens, [&]<int kTokens>(Index t, Together<kTokens>) __attribute__((always_inline)) {
        times_values<S, kTokens>(room.values, columns, x + t * stride, stride, room.sums + t);
      });
}

template <class S, class Type>
[[gnu::always_inline]] inline void float_block(const BlockRowsBlock& block) {
  const Index tokens = block.x.size(0), stride = block.x.stride(0);
  for_panels<S>(
      block, true,
      [&](RowPointers & rows, const char*& next, Index first, Index columns, BlockRoom& room)
          __attribute__((always_inline)) {
            unpack<S, Type>(rows, columns, next, room);
            const float* x = block.x.row(0) + first;
            const Index panels = columns / kBlockGroup;
            if (tokens == 1) return times_panels<S, Type>(room.panels, panels, x, room.sums[0]);
            for (Index p = 0; p < panels; ++p)
              for (int row = 0; row < kBlockPanelRows; row += S::kRows)
                panel_values<S, Type>(
                    room.panels[p],
                    row, [&](int column, typename S::V value) __attribute__((always_inline)) {
                      S::store(room.values[p * kBlockGroup + column] + row, value);
                    });
            times_all_values<S>(x, stride, tokens, columns, room);
          });
}

// What takes a block's codes where one token passes them: no panel, the same sums.
template <class S, class Type>
struct OneTokenInt8 {
  using V = typename S::V;
  using W = typename S::W;
  static constexpr bool kSigned = S::template kSigned<Type::kMost>,
                        kShort = S::template kShort<Type::kMost>;
  const BlockInt8* x;
  W sums[Type::kPanels][2];
  V scales[Type::kPanels][2], offsets[Type::kPanels][2];

  [[gnu::always_inline]] explicit OneTokenInt8(const BlockInt8* of) : x(of) {
#pragma GCC unroll 8
    for (int p = 0; p < Type::kPanels; ++p)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half)
        sums[p][half] =
            S::words(kSigned || kShort || (half == 1 && !Type::kHalves) ? 0 : x[p].start[half]);
  }
  [[gnu::always_inline]] void codes(int panel, int word, W q) {
    if constexpr (kSigned) q = S::flipped(q, S::words(static_cast<int>(0x80808080)));
    W& sum = sums[panel][word / 4];
    sum = S::template dot<Type::kMost>(sum, q, x[panel].x + 4 * word);
  }
  [[gnu::always_inline]] void scale(int panel, int half, V v) {
    scales[panel][half] = v;
  }
  [[gnu::always_inline]] void offset(int panel, int half, V v) {
    offsets[panel][half] = v;
  }
  [[gnu::always_inline]] V added_to(V sum) const {
#pragma GCC unroll 8
    for (int p = 0; p < Type::kPanels; ++p) {
      const W low = S::template whole<Type::kMost>(sums[p][0]),
              high = S::template whole<Type::kMost>(sums[p][1]);
      const auto add = [&](W whole, int from) __attribute__((always_inline)) {
        if constexpr (kShort && Type::kZero != 0)
          whole = S::plus(whole, S::words(x[p].start[from]));
        sum = S::fma(S::floats(whole), S::mul(scales[p][from], S::set(x[p].scale)), sum);
        if constexpr (Type::kOffsets) sum = S::fma(offsets[p][from], S::set(x[p].sum[from]), sum);
      };
      if constexpr (Type::kHalves) {
        add(low, 0);
        add(high, 1);
      } else {
        add(S::plus(low, high), 0);
      }
    }
    return sum;
  }
};

// The same of eight rows whose codes are 32 bytes with a sign, behind a scale: row by row along the columns,
// which spares turning them into lanes; whole sums come out alike.
template <class S>
[[gnu::always_inline]] inline typename S::V eight_rows_added_to(typename S::V sum,
                                                                const std::byte* const* rows,
                                                                const BlockInt8& x) {
  typename S::W sums[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) sums[r] = S::bytes_dot(rows[r] + 2, x.x);
  const typename S::W whole = S::plus(S::sums_of_lanes(sums), S::words(S::bytes_start(x.start[0])));
  return S::fma(S::floats(whole), S::mul(S::halves(S::load1(rows, 0)), S::set(x.scale)), sum);
}

// One block of each row.
template <class S, class Type>
[[gnu::always_inline]] inline void one_token_block(
    const std::byte* const* rows, const BlockInt8* x,
    typename S::V (&sums)[kBlockPanelRows / S::kRows]) {
#pragma GCC unroll 2
  for (int i = 0; i < kBlockPanelRows / S::kRows; ++i) {
    if constexpr (S::kRows == 8 && Type::kSignedBytes) {
      sums[i] = eight_rows_added_to<S>(sums[i], rows + 8 * i, *x);
    } else {
      OneTokenInt8<S, Type> token(x);
      Type::template unpack<S>(rows + i * S::kRows, token);
      sums[i] = token.added_to(sums[i]);
    }
  }
}

// One chain of a token's sums, in registers while body(sums) adds to it.
template <class S, class Body>
[[gnu::always_inline]] inline void one_token_chain(float* chain, const Body& body) {
  typename S::V sums[kBlockPanelRows / S::kRows];
#pragma GCC unroll 2
  for (int i = 0; i < kBlockPanelRows / S::kRows; ++i) sums[i] = S::load(chain + i * S::kRows);
  body(sums);
#pragma GCC unroll 2
  for (int i = 0; i < kBlockPanelRows / S::kRows; ++i) S::store(chain + i * S::kRows, sums[i]);
}

template <class S, class Type>
[[gnu::always_inline]] inline void one_token_int8(RowPointers& rows, const BlockInt8* x,
                                                  Index columns, const char*& next, float* chain) {
  one_token_chain<S>(
      chain, [&](auto& sums) __attribute__((always_inline)) {
        for (Index column = 0; column < columns; column += kBlockGroup * Type::kPanels) {
          prefetch<Type>(next);
          one_token_block<S, Type>(rows.at, x + column / kBlockGroup, sums);
          rows.advance(Type::kBytes);
        }
      });
}

// Apart from the loop above, which it would take registers from.
template <class S, class Type>
[[gnu::noinline]] void one_token_residuals(const RowPointers& from, const BlockInt8* x,
                                           std::uint32_t residuals, float* chain) {
  one_token_chain<S>(
      chain, [&](auto& sums) __attribute__((always_inline)) {
        for_residuals<Type>(
            residuals, [&](Index group) __attribute__((always_inline)) {
              RowPointers rows = from;
              rows.advance(group / Type::kPanels * Type::kBytes);
              one_token_block<S, Type>(rows.at, x + group, sums);
            });
      });
}

template <class S, class Type>
[[gnu::always_inline]] inline void int8_block(const BlockRowsBlock& block) {
  const Index groups = block.w.columns / kBlockGroup;
  const auto* layout = reinterpret_cast<const BlockInt8*>(block.layout);
  for_panels<S>(
      block, true,
      [&](RowPointers & rows, const char*& next, Index first, Index columns, BlockRoom& room)
          __attribute__((always_inline)) {
            const BlockInt8* x = layout + first / kBlockGroup;
            const Index panels = columns / kBlockGroup;
            // Eight rows at a time have no room for what all groups of 16 of 256 columns need.
            constexpr bool kRoom = S::kRows == 16 || !Type::kHalves;
            if (kRoom && block.x.size(0) == 1) {
              one_token_int8<S, Type>(rows, x, columns, next, room.sums[0][0]);
              if (x->residuals == 0) return;
              RowPointers from = rows;
              from.advance(-panels / Type::kPanels * Type::kBytes);
              return one_token_residuals<S, Type>(from, x + groups, x->residuals, room.sums[0][1]);
            }
            unpack<S, Type>(rows, columns, next, room);
            for_tokens<S::kTogether>(
                block.x.size(0), [&]<int kTokens>(
                                     Index t, Together<kTokens>) __attribute__((always_inline)) {
                  times_panels_int8<S, Type, kTokens>(room.panels, panels, x + t * 2 * groups,
                                                      2 * groups, room.sums + t);
                });
            for (Index t = 0; t < block.x.size(0); ++t, x += 2 * groups)
              for_residuals<Type>(x->residuals, [&](Index group) {
                times_panels_int8<S, Type, 1>(room.panels + group, Type::kPanels,
                                              x + groups + group, 0, room.sums + t, 1);
              });
          });
}

// Of types that vectors do not unpack: x rows of floats, rounded or not.
template <class S>
[[gnu::always_inline]] inline void decoded_block(const BlockRowsBlock& block, const float* x,
                                                 Index stride) {
  for_panels<S>(
      block, true,
      [&](RowPointers & rows, const char*&, Index first, Index columns, BlockRoom& room)
          __attribute__((always_inline)) {
            alignas(64) float row[kBlockDepth];
            for (int r = 0; r < kBlockPanelRows; ++r) {
              block.w.decode(rows.at[r], columns / block.w.elements, row);
              for (Index i = 0; i < columns; ++i) room.values[i][r] = row[i];
            }
            rows.advance(columns / block.w.elements * block.w.bytes);
            times_all_values<S>(x + first, stride, block.x.size(0), columns, room);
          });
}

template <class S, template <class, class> class Kernel>
[[gnu::always_inline]] inline bool by_form(const BlockRowsBlock& block) {
  switch (block.w.form) {
    case BlockForm::q4_0:
      return Kernel<S, BlockQ4_0>::run(block);
    case BlockForm::q4_1:
      return Kernel<S, BlockQ4_1>::run(block);
    case BlockForm::q5_0:
      return Kernel<S, BlockQ5_0>::run(block);
    case BlockForm::q8_0:
      return Kernel<S, BlockQ8_0>::run(block);
    case BlockForm::q4_k:
      return Kernel<S, BlockQ4_K>::run(block);
    case BlockForm::q5_k:
      return Kernel<S, BlockQ5_K>::run(block);
    case BlockForm::q6_k:
      return Kernel<S, BlockQ6_K>::run(block);
    case BlockForm::other:
      return false;
  }
  return false;
}

template <class S, class Type>
struct FloatKernel {
  static bool run(const BlockRowsBlock& block) {
    float_block<S, Type>(block);
    return true;
  }
};
template <class S, class Type>
struct Int8Kernel {
  static bool run(const BlockRowsBlock& block) {
    int8_block<S, Type>(block);
    return true;
  }
};

template <class S>
[[gnu::always_inline]] inline void block_rows_float(const BlockRowsBlock& block) {
  if (!by_form<S, FloatKernel>(block)) decoded_block<S>(block, block.x.row(0), block.x.stride(0));
}
template <class S>
[[gnu::always_inline]] inline void block_rows_int8(const BlockRowsBlock& block) {
  if (!by_form<S, Int8Kernel>(block))
    decoded_block<S>(block, reinterpret_cast<const float*>(block.layout), block.w.columns);
}

}  // namespace
}  // namespace mote::kernels
