#include "kernels/linear/matmul/matmul.h"

#include "base/check.h"

#include <algorithm>

namespace mote::kernels {
namespace {

constexpr Index kRowUnit = kGemmWholeRows,
                kColumnUnit = 64;  // whole panels, and what sources are cut at

// Enough that a worker which is kept from its work holds up little. Below 2^19 multiply-adds waking
// a thread costs more than it brings; one row costs as much as eight: it waits for memory.
Index tiles_wanted(const Gemm& g, Index workers) {
  const Index work = std::max<Index>(g.m, 8) * g.n * std::max<Index>(g.k, 1);
  return workers == 1 ? 1 : std::clamp<Index>(work >> 19, 1, 4 * workers);
}

// Tiles down and across, each of so many whole units of rows or columns; the last has the rest, so
// that no tile has fewer rows than a unit unless c has.
struct Tiles {
  Index rows, columns, down, across;  // rows and columns in units
  Index first_row(Index i) const { return i * rows / down * kRowUnit; }
  Index first_column(Index j) const { return j * columns / across * kColumnUnit; }
};

// Every further column of tiles reads a again, every further row packs b again: the cheapest way to
// have as many tiles as are wanted.
Tiles tiles(const Gemm& g, Index workers) {
  const Index wanted = tiles_wanted(g, workers);
  Tiles best{std::max<Index>(1, g.m / kRowUnit), std::max<Index>(1, g.n / kColumnUnit), 1, 1};
  const Index a_cost = g.a.rows == Rows::inner ? 2 : 1;
  Index b_cost = g.b.rows == Rows::inner ? 2 : 4;
  if (g.b.source.fill) b_cost = 8;
  Index best_cost = -1;
  for (Index down = 1; down <= std::min(wanted, best.rows); ++down) {
    const Index across = (wanted + down - 1) / down;
    if (across > best.columns) continue;
    const Index cost = a_cost * g.m * across + b_cost * g.n * down;
    if (best_cost >= 0 && cost >= best_cost) continue;
    best_cost = cost, best.down = down, best.across = across;
  }
  if (best_cost < 0) best.down = best.rows, best.across = best.columns;
  return best;
}

}  // namespace

void matmul(const Gemm& whole, const Run& run) {
  check_gemm(whole);
  MOTE_CHECK(!whole.b.panels, "matmul: b is laid out beforehand, which is for gemm()");
  if (whole.m == 0 || whole.n == 0) return;
  const auto& variant = gemm_variant(whole, run);
  const Tiles cut = tiles(whole, run.executor->threads());
  parallel_for(*run.executor, cut.down * cut.across, [&](Index item, int) {
    const Index down = item / cut.across, across = item % cut.across;
    const Index i = cut.first_row(down), j = cut.first_column(across);
    const Index end_i = down + 1 == cut.down ? whole.m : cut.first_row(down + 1),
                end_j = across + 1 == cut.across ? whole.n : cut.first_column(across + 1);
    variant.call(part_of(whole, i, end_i - i, j, end_j - j), run);
  });
}

}  // namespace mote::kernels
