#include "kernels/linear/matmul/matmul.h"

#include <algorithm>

namespace mote::kernels {
namespace {

constexpr Index kRowUnit = 48, kColumnUnit = 64;  // whole panels, and what sources are cut at

constexpr Index pieces(Index size, Index piece) {
  return (size + piece - 1) / piece;
}

// How many tiles a product is worth, by multiply-adds. One row costs as much as eight: it waits for
// memory. Below 2^19 waking a thread costs more than it brings; tiles of 2^19 suffice for 16 of
// them, and larger products have tiles of 2^23 for machines of many threads.
Index tiles_wanted(const Gemm& g) {
  const Index work = std::max<Index>(g.m, 8) * g.n * std::max<Index>(g.k, 1);
  return std::clamp<Index>(work >> 19, 1, std::clamp<Index>(work >> 23, 16, 512));
}

struct TileSize {
  Index rows, columns;
};

// Every further column of tiles reads a again, every further row packs b again: the cheapest way to
// have as many tiles as are wanted.
TileSize tile_size(const Gemm& g) {
  const Index wanted = tiles_wanted(g);
  const Index most_down = pieces(g.m, kRowUnit), most_across = pieces(g.n, kColumnUnit);
  const Index a_cost = g.a.rows == Rows::inner ? 2 : 1, b_cost = g.b.rows == Rows::inner ? 2 : 4;
  Index best_down = 1, best_across = std::min(wanted, most_across), best_cost = -1;
  for (Index down = 1; down <= std::min(wanted, most_down); ++down) {
    const Index across = pieces(wanted, down);
    if (across > most_across) continue;
    const Index cost = a_cost * g.m * across + b_cost * g.n * down;
    if (best_cost >= 0 && cost >= best_cost) continue;
    best_cost = cost, best_down = down, best_across = across;
  }
  if (best_cost < 0) best_down = most_down, best_across = most_across;
  return {pieces(pieces(g.m, best_down), kRowUnit) * kRowUnit,
          pieces(pieces(g.n, best_across), kColumnUnit) * kColumnUnit};
}

}  // namespace

Operand from_outer(Operand x, Index first) {
  if (x.source.fill) {
    x.first += first;
    return x;
  }
  if (x.rows == Rows::outer && x.pick) {
    x.pick += first;
    return x;
  }
  const Index elements = x.rows == Rows::inner ? first : first * x.stride;
  x.data = static_cast<const char*>(x.data) + elements * size_of(x.type);
  return x;
}

Gemm part_of(const Gemm& whole, Index i, Index m, Index j, Index n) {
  Gemm part = whole;
  part.m = m, part.n = n;
  part.a = from_outer(whole.a, i);
  part.b = from_outer(whole.b, j);
  part.c = whole.c + i * whole.c_stride + j;
  Finish& f = part.finish;
  if (f.bias) f.bias += j;
  if (f.factor) f.factor += i * f.factor_stride + j;
  if (f.row_scale) f.row_scale += i;
  return part;
}

void matmul(const Gemm& whole, const Run& run) {
  check_gemm(whole);
  if (whole.m == 0 || whole.n == 0) return;
  const auto& variant = gemm_variant(whole, run);
  const TileSize tile = tile_size(whole);
  const Index across = pieces(whole.n, tile.columns);
  parallel_for(*run.executor, pieces(whole.m, tile.rows) * across, [&](Index item, int) {
    const Index i = item / across * tile.rows, j = item % across * tile.columns;
    variant.call(
        part_of(whole, i, std::min(tile.rows, whole.m - i), j, std::min(tile.columns, whole.n - j)),
        run);
  });
}

}  // namespace mote::kernels
