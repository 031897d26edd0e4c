// Tiles: 32 x 32 sums in four registers of 16 x 16, two of a and two of b; a step of the instruction
// is 16 pairs of k. What a tile has too much is 0 (steps, columns) or not kept (rows). Within a sum
// pairs come in the order of k; subnormal numbers are 0.
#include <utility>

#include "kernels/linear/gemm/gemm_bf16_pairs.h"
#include "kernels/linear/gemm/gemm_transposed.h"

namespace mote::kernels {
namespace {

constexpr Index kSide = 16;

struct GemmAmx : Bf16Pairs {
  static constexpr int kRows = 32, kVectors = 2, kStepUnit = kSide;
};

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kConfig;

// Sums of up to 2 x 2 tiles, row after row of 32; rows of a are a_pitch bytes apart. The intrinsics
// want numbers of registers; they do not tell the compiler which memory they read.
template <int Down, int Across, class BeforeStep>
void sum_tiles(Index steps, const float* a, Index a_pitch, const float* b, float* sums,
               const BeforeStep& before_step) {
  constexpr long kFloat = sizeof(float), kLine = 2 * kSide * kFloat, kWidth = Across * kSide;
  const auto* lower =
      reinterpret_cast<const float*>(reinterpret_cast<const char*>(a) + kSide * a_pitch);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  _tile_zero(0);
  if constexpr (Across == 2) _tile_zero(1);
  if constexpr (Down == 2) _tile_zero(2);
  if constexpr (Down == 2 && Across == 2) _tile_zero(3);
  for (Index s = 0; s < steps; s += kSide) {
    before_step(s);
    _tile_loadd(6, b + s * kWidth, kWidth * kFloat);
    _tile_loadd(4, a + s, a_pitch);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Across == 2) {
      _tile_loadd(7, b + s * kWidth + kSide, kWidth * kFloat);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (Down == 2) {
      _tile_loadd(5, lower + s, a_pitch);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (Down == 2 && Across == 2) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, kLine);
  if constexpr (Across == 2) _tile_stored(1, sums + kSide, kLine);
  if constexpr (Down == 2) _tile_stored(2, sums + 2 * kSide * kSide, kLine);
  if constexpr (Down == 2 && Across == 2) _tile_stored(3, sums + 2 * kSide * kSide + kSide, kLine);
}

template <class BeforeStep>
void sum_tiles(bool two_down, bool two_across, Index steps, const float* a, Index a_pitch,
               const float* b, float* sums, const BeforeStep& before_step) {
  const auto sum = two_down
                       ? (two_across ? sum_tiles<2, 2, BeforeStep> : sum_tiles<2, 1, BeforeStep>)
                       : (two_across ? sum_tiles<1, 2, BeforeStep> : sum_tiles<1, 1, BeforeStep>);
  sum(steps, a, a_pitch, b, sums, before_step);
}

// `rows` of a block of a times a panel of b, as multiply_tile of vectors does it.
void multiply_tiles(const BlockOfA& block, Index panel, Index rows, Index steps, const float* b,
                    Index vectors, const Tile& tile) {
  alignas(64) float sums[4 * kSide * kSide];
  const float* a = row_of<GemmAmx>(block, panel, 0);
  sum_tiles(rows > kSide, vectors == 2, steps, a, block.pitch * Index{sizeof(float)}, b, sums,
            [](Index) {});
  for (Index r = 0; r < rows; ++r) {
    const float* line = sums + r * 2 * kSide;
    finish_row<GemmAmx, 2>(
        tile, r,
        {GemmAmx::load(line), vectors == 2 ? GemmAmx::load(line + kSide) : GemmAmx::zero()});
  }
}

// 32 rows of b times a panel of a, as TransposedByVectors does it.
struct TransposedByTiles {
  static constexpr int kRowsOfNarrow = GemmAmx::kRows;
  static constexpr Index kMostTail = 0;

  static void multiply(const RowsOfB<GemmAmx::kRows>& b, Index vectors,
                       const TransposedTile& tile) {
    alignas(64) float sums[4 * kSide * kSide];
    const Index pitch =
        reinterpret_cast<const char*>(b.at[1]) - reinterpret_cast<const char*>(b.at[0]);
    sum_tiles(true, vectors == 2, tile.count, b.at[0] + tile.first, pitch, tile.panel, sums,
              [&](Index s) { b.ask_for_next(tile.first + s); });
    for (Index r = 0; r < GemmAmx::kRows; ++r)
      for (Index v = 0; v < vectors; ++v) {
        const GemmAmx::V sum = GemmAmx::load(sums + (2 * r + v) * kSide);
        float* to = tile.sums + r * tile.pitch + v * kSide;
        GemmAmx::store(to, tile.first > 0 ? GemmAmx::add(GemmAmx::load(to), sum) : sum);
      }
  }
};

}  // namespace

void gemm_bf16_amx(const GemmBlock& block) {
  _tile_loadconfig(&kConfig);
  gemm_blocked<GemmAmx, multiply_tiles>(block);
  _tile_release();
}
void gemm_transposed_bf16_amx(const GemmTransposed& block) {
  _tile_loadconfig(&kConfig);
  gemm_transposed<GemmAmx, TransposedByTiles>(block);
  _tile_release();
}

}  // namespace mote::kernels
