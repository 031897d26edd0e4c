// One matrix of GGUF's blocks in memory, and what the vector products make of it on the way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed/product/block.h"

namespace mote::kernels {

// The types that vectors unpack; others are decoded to float32 by a function.
enum class BlockForm { q4_0, q4_1, q5_0, q8_0, q4_k, q5_k, q6_k, other };

struct BlockMatrix {
  Index rows = 0, columns = 0;
  const std::byte* blocks = nullptr;
  Index elements = 0, bytes = 0;  // of a block
  BlockForm form = BlockForm::other;
  void (*decode)(const std::byte* blocks, Index count, float* values) = nullptr;

  [[gnu::always_inline]] Index row_bytes() const { return columns / elements * bytes; }
};

constexpr Index kBlockPanelRows = 16, kBlockGroup = 32, kBlockDepth = 256;

// 16 rows by 32 columns: value = scale (code - zero) + offset, zero the same for all of a type.
struct alignas(64) BlockPanel {
  std::uint8_t codes[8][kBlockPanelRows][4];  // columns 4 j to 4 j + 3 of each row
  float scales[2][kBlockPanelRows];  // of 16 columns each; the first of all 32 where there is one
  float offsets[2][kBlockPanelRows];
};

// 32 columns of one token in 8 bits. A row's groups are followed by as many residuals, all 0 of groups
// that have none.
struct alignas(64) BlockInt8 {
  std::int8_t x[kBlockGroup];
  float scale;
  std::int32_t start[2];  // - zero times the sum of x: of 16 columns each, or first of all 32
  float sum[2];           // scale times the sum of x, alike
  std::uint32_t
      residuals;  // in the first of kBlockDepth columns: a bit for each group that has one
};
static_assert(sizeof(BlockInt8) == 64);

// What a block of outputs needs: the panels of kBlockDepth columns as codes, as floats, and sums.
constexpr Index kBlockTokens = 64;
struct alignas(64) BlockRoom {
  BlockPanel panels[kBlockDepth / kBlockGroup];
  float values[kBlockDepth][kBlockPanelRows];
  float sums[kBlockTokens][2][kBlockPanelRows];
};

using BlockRowsLayout = PackedLayout<BlockMatrix>;
using BlockRowsBlock = PackedBlock<BlockMatrix>;

void block_rows_lay_out_int8_avx2(const BlockRowsLayout& to);
void block_rows_lay_out_int8_avx512(const BlockRowsLayout& to);
void block_rows_block_avx2(const BlockRowsBlock& block);
void block_rows_block_avx512(const BlockRowsBlock& block);
void block_rows_block_int8_avx2(const BlockRowsBlock& block);
void block_rows_block_int8_avx2_vnni(const BlockRowsBlock& block);
void block_rows_block_int8_avx512_vnni(const BlockRowsBlock& block);

}  // namespace mote::kernels
