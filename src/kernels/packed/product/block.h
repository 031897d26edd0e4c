// The pieces that packed products are cut into, as the vector files see them: some outputs of one
// matrix, for a chunk of tokens. `Matrix` is a coder's plain struct of pointers.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

// What a chunk's activations become before any block of outputs is computed.
template <class Matrix>
struct PackedLayout {
  Matrix w;
  View<const float, 2> x;  // the chunk's rows
  std::byte* layout = nullptr;
};

template <class Matrix>
struct PackedBlock {
  Matrix w;
  Index first = 0, count = 0;   // outputs
  View<const float, 2> x;       // the chunk's rows
  std::byte* layout = nullptr;  // on a cache line; read by all blocks of a chunk
  View<float, 2> y;             // the chunk's rows, all outputs
  std::byte* panels = nullptr;  // room of this block alone, on a cache line
};

template <class Matrix>
struct BlockKernel {
  Index tokens = 16;   // of a chunk, at most
  Index outputs = 64;  // of a block, at most; blocks start at multiples of it
  // Bytes of a layout per token, and what writes it.
  Index (*layout_bytes)(const Matrix& w) = nullptr;
  void (*lay_out)(const PackedLayout<Matrix>& to) = nullptr;
  void (*block)(const PackedBlock<Matrix>& block) = nullptr;
  // Bytes of a block's panels; null: it has none.
  Index (*panel_bytes)(const Matrix& w) = nullptr;
  // Tokens that are laid out at once, where each is by itself; 0: a chunk.
  Index layout_tokens = 0;
};

}  // namespace mote::kernels
