#include "kernels/packed/product/int8_panels_amx.h"
#include "kernels/packed/two_bit/two_bit_int8_vector.h"

namespace mote::kernels {
namespace {

struct TwoBitPanels {
  using Matrix = TwoBitMatrix;
  using S = BytesAvx512;
  static constexpr int kPlanes = 1;
  static constexpr Index kStride = kDepth * kTileRows, kRoom = kStride;
  using Place = const std::uint8_t*;  // the next tile

  [[gnu::always_inline]] static Place start(const TwoBitMatrix& w, Index panel) {
    return w.panel(panel);
  }
  [[gnu::always_inline]] static void fill(const TwoBitMatrix& w, Place& tile, Index column,
                                          std::uint8_t* plane) {
    const Index left = two_bit_tiles(w.columns - column), most = kDepth / kTwoBitSide;
    const Index tiles = left < most ? left : most;
    for (Index g = 0; g < tiles; ++g, tile += kTwoBitTile) {
      const __m512i codes = S::load_codes(tile);
      prefetch(tile);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s)
        _mm512_storeu_si512(plane + (4 * g + s) * 64,
                            S::masked(S::shift(codes, 2 * s), S::bytes(3)));
    }
    for (Index line = 4 * tiles; line < 4 * most; ++line)
      _mm512_storeu_si512(plane + line * 64, S::none());
  }
  struct Levels {
    __m512 scales;
    __m512i zeros;
  };
  [[gnu::always_inline]] static Levels levels(const TwoBitBlock& block, Index panel) {
    const PanelLevels of(block.w, panel);
    return {S::from_bf16s(of.scales), S::zeros(of.zeros)};
  }
  [[gnu::always_inline]] static void finish(const TwoBitBlock& block, const Levels& levels,
                                            Index row, Index token, const __m512i (&sums)[1]) {
    const Int8Row& x8 = int8_row(block.layout, block.w.columns, token);
    const __m512i whole = S::minus(sums[0], S::times(levels.zeros, x8.sum));
    const __m512 y = S::mul(S::mul(S::floats(whole), levels.scales), S::set(x8.scale));
    S::store(block.y.row(token) + row, y, block.first + block.count - row);
  }
};

}  // namespace

void two_bit_block_int8_amx(const TwoBitBlock& block) {
  if (block.x.size(0) < kTwoBitLeastTokensForTiles) return two_bit_block_int8_avx512_vnni(block);
  int8_panels_block<TwoBitPanels>(block);
}

}  // namespace mote::kernels
