// Blocks of products with 8-bit activations for many tokens, on tiles: a coder fills panels of 16
// rows with bytes, tiles of 16 tokens by 64 columns times those are summed exactly.
//
// The columns go by in blocks of kDepth, so that what is filled stays in the L1 cache while all
// tokens of the chunk pass it; the sums wait in memory. A panel has kPlanes planes of bytes 0 to
// 255, [kDepth / 4][16 rows][4]; sums are over each plane apart. The layout of x is rows of
// int8_rows.h. A coder here is
//   Matrix, kPlanes; kStride: bytes from plane to plane; kRoom: bytes of a panel and all it needs
//   Place: where its reading of a panel stands; start(w, panel) the first one
//   fill(w, place, first column, planes): kDepth columns, zeros behind the last; goes on from place
//   Levels, levels(block, panel): the levels of its rows
//   finish(block, levels, row, token, sums): sums[plane] are those of rows `row` to `row` + 15
#pragma once

#include "kernels/packed/product/block.h"
#include "kernels/packed/product/int8_rows_vector.h"

namespace mote::kernels {
namespace {

constexpr Index kTileRows = 16, kDepth = 512;

// Tiles 0 to 3 are sums [token tile][panel], 4 and 5 tokens, 6 and 7 panels.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {};
};

[[gnu::always_inline]] inline void shape_tiles(Index first_tokens, Index second_tokens) {
  TileShapes shapes;
  const auto first = static_cast<std::uint8_t>(first_tokens);
  const auto second = static_cast<std::uint8_t>(second_tokens);
  shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = first;
  shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = second;
  shapes.rows[6] = shapes.rows[7] = static_cast<std::uint8_t>(kTileRows);
  _tile_loadconfig(&shapes);
}

// Sums of one or two tiles of tokens with two panels over one block of columns, added to
// sums[token tile][panel][16][16] or stored there.
template <int kTokenTiles>
[[gnu::always_inline]] inline void tile_sums(const std::int8_t* x8, Index stride,
                                             const std::uint8_t* first, const std::uint8_t* second,
                                             Index columns, bool add, std::int32_t* sums) {
  if (add) {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + 256, 64);
    if constexpr (kTokenTiles == 2) {
      _tile_loadd(2, sums + 512, 64);
      _tile_loadd(3, sums + 768, 64);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTokenTiles == 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  for (Index column = 0; column < columns; column += 64) {
    _tile_loadd(4, x8 + column, stride);
    _tile_loadd(6, first + column * kTileRows, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(7, second + column * kTileRows, 64);
    _tile_dpbsud(1, 4, 7);
    if constexpr (kTokenTiles == 2) {
      _tile_loadd(5, x8 + kTileRows * stride + column, stride);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  if constexpr (kTokenTiles == 2) {
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
  }
}

// The tokens of a chunk, two tiles at a time, and the tile shapes that they need.
struct TokenTiles {
  Index tokens, shaped = 0;
  // Tokens of the step that begins at t; the second tile may have none.
  [[gnu::always_inline]] Index step(Index t) {
    const Index left = tokens - t < 2 * kTileRows ? tokens - t : 2 * kTileRows;
    if (left != shaped) {
      const Index first = left < kTileRows ? left : kTileRows, second = left - first;
      shape_tiles(first, second > 0 ? second : kTileRows);
    }
    return shaped = left;
  }
};

// Two panels from `panel` on, the second of which may lie behind the block's end, times all tokens.
template <class Coder>
[[gnu::always_inline]] inline void times_two_panels(
    const PackedBlock<typename Coder::Matrix>& block, Index panel) {
  constexpr int kPlanes = Coder::kPlanes;
  constexpr Index kSteps = kInt8TileTokens / (2 * kTileRows);
  const Index columns = block.w.columns, stride = int8_row_bytes(columns);
  const bool two = (panel + 1) * kTileRows < block.first + block.count;
  auto* first = reinterpret_cast<std::uint8_t*>(block.panels);
  std::uint8_t* second = two ? first + Coder::kRoom : first;
  auto* sums = reinterpret_cast<std::int32_t*>(block.panels + 2 * Coder::kRoom);
  typename Coder::Place places[2] = {Coder::start(block.w, panel),
                                     Coder::start(block.w, two ? panel + 1 : panel)};
  TokenTiles tiles{block.x.size(0)};
  for (Index column = 0; column < columns; column += kDepth) {
    Coder::fill(block.w, places[0], column, first);
    if (two) Coder::fill(block.w, places[1], column, second);
    const Index padded = (columns - column + 63) / 64 * 64;
    const Index depth = padded < kDepth ? padded : kDepth;
    for (Index t = 0; t < tiles.tokens; t += 2 * kTileRows) {
      const bool both = tiles.step(t) > kTileRows;
      const std::int8_t* x8 = int8_values(int8_row(block.layout, columns, t)) + column;
      for (int plane = 0; plane < kPlanes; ++plane) {
        std::int32_t* to = sums + (plane * kSteps + t / (2 * kTileRows)) * 1024;
        const std::uint8_t *a = first + plane * Coder::kStride,
                           *b = second + plane * Coder::kStride;
        if (both)
          tile_sums<2>(x8, stride, a, b, depth, column > 0, to);
        else
          tile_sums<1>(x8, stride, a, b, depth, column > 0, to);
      }
    }
  }
  const typename Coder::Levels levels[2] = {Coder::levels(block, panel),
                                            Coder::levels(block, two ? panel + 1 : panel)};
  for (Index t = 0; t < tiles.tokens; ++t)
    for (int p = 0; p < (two ? 2 : 1); ++p) {
      const Index at =
          t / (2 * kTileRows) * 1024 + t / kTileRows % 2 * 512 + p * 256 + t % kTileRows * 16;
      __m512i row_sums[kPlanes];
#pragma GCC unroll 2
      for (int plane = 0; plane < kPlanes; ++plane)
        row_sums[plane] = _mm512_load_si512(sums + plane * kSteps * 1024 + at);
      Coder::finish(block, levels[p], (panel + p) * kTileRows, t, row_sums);
    }
}

template <class Coder>
[[gnu::always_inline]] inline void int8_panels_block(
    const PackedBlock<typename Coder::Matrix>& block) {
  static_assert(2 * Coder::kRoom + Coder::kPlanes * kInt8TileTokens * 2 * kTileRows * 4 <=
                kInt8PanelBytes);
  const Index end = (block.first + block.count + kTileRows - 1) / kTileRows;
  for (Index panel = block.first / kTileRows; panel < end; panel += 2)
    times_two_panels<Coder>(block, panel);
  _tile_release();
}

}  // namespace
}  // namespace mote::kernels
