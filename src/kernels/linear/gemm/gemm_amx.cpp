// Tiles: 32 x 32 sums in four registers of 16 x 16, two of a and two of b; a step of the instruction
// is 16 pairs of k. What a tile has too much is 0 (steps, columns) or not kept (rows). Within a sum
// pairs come in the order of k; subnormal numbers are 0.
#include <utility>

#include "kernels/linear/gemm/gemm_bf16_pairs.h"
#include "kernels/linear/gemm/gemm_blocked.h"

namespace mote::kernels {
namespace {

constexpr Index kSide = 16;

struct GemmAmx : Bf16Pairs {
  static constexpr int kRows = 32, kVectors = 2, kStepUnit = kSide, kMatrices = 1;
};

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kConfig;

// Sums of up to 2 x 2 tiles, row after row of 32. The intrinsics want numbers of registers; they do
// not tell the compiler which memory they read.
template <int Down, int Across>
void sum_tiles(Index steps, const float* a, Index a_pitch, const float* b, float* sums) {
  constexpr long kFloat = sizeof(float), kLine = 2 * kSide * kFloat, kWidth = Across * kSide;
  const float* lower = a + kSide * a_pitch;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  _tile_zero(0);
  if constexpr (Across == 2) _tile_zero(1);
  if constexpr (Down == 2) _tile_zero(2);
  if constexpr (Down == 2 && Across == 2) _tile_zero(3);
  for (Index s = 0; s < steps; s += kSide) {
    _tile_loadd(6, b + s * kWidth, kWidth * kFloat);
    _tile_loadd(4, a + s, a_pitch * kFloat);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Across == 2) {
      _tile_loadd(7, b + s * kWidth + kSide, kWidth * kFloat);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (Down == 2) {
      _tile_loadd(5, lower + s, a_pitch * kFloat);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (Down == 2 && Across == 2) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, kLine);
  if constexpr (Across == 2) _tile_stored(1, sums + kSide, kLine);
  if constexpr (Down == 2) _tile_stored(2, sums + 2 * kSide * kSide, kLine);
  if constexpr (Down == 2 && Across == 2) _tile_stored(3, sums + 2 * kSide * kSide + kSide, kLine);
}

// `rows` of a block of a times a panel of b, as multiply_tile of vectors does it.
void multiply_tiles(const BlockOfA& block, Index panel, Index rows, Index steps, const float* b,
                    Index vectors, const Tile& tile) {
  alignas(64) float sums[4 * kSide * kSide];
  const float* a = row_of<GemmAmx>(block, panel, 0);
  if (rows > kSide && vectors == 2) sum_tiles<2, 2>(steps, a, block.pitch, b, sums);
  if (rows > kSide && vectors == 1) sum_tiles<2, 1>(steps, a, block.pitch, b, sums);
  if (rows <= kSide && vectors == 2) sum_tiles<1, 2>(steps, a, block.pitch, b, sums);
  if (rows <= kSide && vectors == 1) sum_tiles<1, 1>(steps, a, block.pitch, b, sums);
  for (Index r = 0; r < rows; ++r) {
    const float* line = sums + r * 2 * kSide;
    finish_row<GemmAmx, 2>(
        tile, r,
        {GemmAmx::load(line), vectors == 2 ? GemmAmx::load(line + kSide) : GemmAmx::zero()});
  }
}

}  // namespace

void gemm_bf16_amx(const GemmBlock& block) {
  _tile_loadconfig(&kConfig);
  gemm_blocked<GemmAmx, multiply_tiles>(block);
  _tile_release();
}
void gemm_gated_bf16_amx(const GemmBlock& block) {
  _tile_loadconfig(&kConfig);
  gemm_blocked<GatedTiles<GemmAmx, 2 * kSide>, multiply_tiles>(block);
  _tile_release();
}

}  // namespace mote::kernels
