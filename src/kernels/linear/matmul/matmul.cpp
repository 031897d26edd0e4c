#include "kernels/linear/matmul/matmul.h"

#include <algorithm>

namespace mote::kernels {
namespace {

constexpr Index kTileRows = 336;            // whole panels of 14 and of 6 rows
constexpr Index kTileColumns = 512;         // one packing of b
constexpr Index kSerialProducts = 1 << 18;  // below this, waking a thread costs more than it brings

Index tiles(Index size, Index most) {
  return (size + most - 1) / most;
}

// Tiles of nearly equal size that are multiples of `unit`.
Index tile_size(Index size, Index most, Index unit) {
  const Index count = std::max<Index>(1, tiles(size, most));
  return (tiles(size, count) + unit - 1) / unit * unit;
}

}  // namespace

Operand from_outer(Operand x, Index first) {
  if (x.rows == Rows::inner)
    x.data += first;
  else if (x.pick)
    x.pick += first;
  else
    x.data += first * x.stride;
  return x;
}

void matmul(const Gemm& whole, const Run& run) {
  if (whole.m == 0 || whole.n == 0) return;
  const auto& variant = gemm_variant(whole, run);
  const bool small = whole.m * whole.n * std::max<Index>(whole.k, 1) < kSerialProducts;
  const Index rows = small ? whole.m : tile_size(whole.m, kTileRows, 42);
  // A tall product has tiles enough; a flat one (few tokens, many outputs) is cut finer.
  const Index columns =
      small ? whole.n : tile_size(whole.n, whole.m > kTileRows ? kTileColumns : 256, 64);
  const Index across = tiles(whole.n, columns);
  const Executor& executor = small ? serial() : *run.executor;
  parallel_for(executor, tiles(whole.m, rows) * across, [&](Index item, int) {
    const Index i = item / across * rows, j = item % across * columns;
    Gemm tile = whole;
    tile.m = std::min(rows, whole.m - i);
    tile.n = std::min(columns, whole.n - j);
    tile.a = from_outer(whole.a, i);
    tile.b = from_outer(whole.b, j);
    tile.c = whole.c + i * whole.c_stride + j;
    if (whole.bias) tile.bias = whole.bias + j;
    variant.call(tile, run);
  });
}

}  // namespace mote::kernels
