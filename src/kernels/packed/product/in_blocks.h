// The one loop of the packed products: rows sorted by expert are cut into chunks, outputs into
// blocks, neither of which changes a sum.
//
// Takes scratch memory for the layouts of all chunks, layout_bytes() for every row of x, and on each
// thread for the panels of one block.
#pragma once

#include <algorithm>

#include "base/scratch.h"
#include "kernels/packed/product/block.h"
#include "kernels/packed/product/product.h"
#include "kernels/packed/product/sorted_rows.h"

namespace mote::kernels {

template <class Matrix>
void product_in_blocks(const PackedProduct& args, const Run& run,
                       Matrix (*expert)(const PackedMatrices& w, Index e),
                       const BlockKernel<Matrix>& kernel) {
  const Index num_rows = args.x.size(0), outputs = args.y.size(1);
  if (num_rows == 0 || outputs == 0) return;
  if (args.x.size(1) == 0) {  // blocks have a sum to begin with
    for (Index r = 0; r < num_rows; ++r) std::fill_n(args.y.row(r), outputs, 0.0f);
    return;
  }
  const Index bytes = (kernel.layout_bytes(expert(args.w, 0)) + 63) / 64 * 64;
  Scratch scratch;
  std::byte* layouts = scratch.take<std::byte>(num_rows * bytes);
  const Index together = kernel.layout_tokens > 0 ? kernel.layout_tokens : kernel.tokens;
  parallel_for(*run.executor, num_rows, [&](Index r, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, r, together);
    if (chunk.tokens > 0)
      kernel.lay_out({expert(args.w, chunk.expert), rows_of(args.x, chunk), layouts + r * bytes});
  });
  const Index blocks = (outputs + kernel.outputs - 1) / kernel.outputs;
  parallel_for(*run.executor, num_rows * blocks, [&](Index item, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, item / blocks, kernel.tokens);
    if (chunk.tokens == 0) return;
    const Index first = item % blocks * kernel.outputs;
    const Matrix w = expert(args.w, chunk.expert);
    Scratch own;
    std::byte* panels = kernel.panel_bytes ? own.take<std::byte>(kernel.panel_bytes(w)) : nullptr;
    kernel.block({w, first, std::min(kernel.outputs, outputs - first), rows_of(args.x, chunk),
                  layouts + chunk.first * bytes, rows_of(args.y, chunk), panels});
  });
}

}  // namespace mote::kernels
