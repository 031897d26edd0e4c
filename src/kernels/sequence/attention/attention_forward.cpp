#include <cmath>
#include <limits>

#include "kernels/sequence/attention/attention_tiles.h"

namespace mote::kernels {
namespace {

constexpr Index kItems = 32;      // pieces of forward's work that are enough for any machine
constexpr Index kMostParts = 16;  // of the keys of a tile
constexpr Index kPartKeys = 1024;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

constexpr Index pieces(Index size, Index piece) {
  return (size + piece - 1) / piece;
}

TileSums take_sums(Index rows, Index value_width, Scratch& scratch) {
  return {scratch.take<float>(rows * value_width), scratch.take<float>(rows),
          scratch.take<float>(rows)};
}
TileSums sums_from(const TileSums& all, Index row, Index value_width) {
  return {all.o_RE + row * value_width, all.largest_R + row, all.sum_R + row};
}

// The sums of a tile over keys [lo, hi).
void sum_keys(const AttentionTiles& tiles, const AttentionTile& tile, Index lo, Index hi,
              const TileSums& sums) {
  std::fill_n(sums.o_RE, tile.rows * tiles.value_width(), 0.0f);
  std::fill_n(sums.largest_R, tile.rows, kNothing);
  std::fill_n(sums.sum_R, tile.rows, 0.0f);
  Scratch scratch;
  const TileBuffers buffers = tiles.buffers(tile, scratch);
  tiles.start(tile, buffers);
  for_key_blocks(lo, hi, [&](const KeyBlock& block) {
    tiles.scores(tile, block, buffers);
    tiles.softmax(tile, block, buffers, sums);
    tiles.add_values(tile, block, buffers, sums);
  });
}

// What the parts of a tile's keys summed, into the first of them.
void merge(const AttentionLoops& loops, Index rows, Index value_width, const TileSums& to,
           const TileSums& part) {
  for (Index r = 0; r < rows; ++r) {
    const float largest = std::max(to.largest_R[r], part.largest_R[r]);
    if (part.sum_R[r] == 0 || largest == kNothing) continue;
    const float kept = std::exp(to.largest_R[r] - largest),
                added = std::exp(part.largest_R[r] - largest);
    float* o = to.o_RE + r * value_width;
    loops.scaled_row({o, nullptr, kept, o, value_width});
    loops.scaled_row({part.o_RE + r * value_width, o, added, o, value_width});
    to.sum_R[r] = to.sum_R[r] * kept + part.sum_R[r] * added;
    to.largest_R[r] = largest;
  }
}

// Outputs from the sums over all keys.
void finish(const Attention& a, const AttentionTiles& tiles, const AttentionLoops& loops,
            const AttentionTile& tile, const TileSums& sums) {
  AttentionTiles::for_rows(tile, [&](Index row, Index h, Index t) {
    float largest = sums.largest_R[row], sum = sums.sum_R[row], kept = 1;
    if (a.sink_H) {
      const float sink = a.sink_H[tiles.head(tile, h)];
      largest = std::max(sink, largest);
      kept = std::exp(sums.largest_R[row] - largest);
      sum = sum * kept + std::exp(sink - largest);
    }
    if (a.lse_BHT) *tiles.lse(tile, h, t) = sum == 0 ? kNothing : largest + std::log(sum);
    loops.scaled_row({sums.o_RE + row * tiles.value_width(), nullptr, sum == 0 ? 0 : kept / sum,
                      row_at(a.o_BTHE, tile.b, tile.first + t, tiles.head(tile, h)),
                      tiles.value_width()});
  });
}

}  // namespace

void attention_in_tiles(const Attention& args, const Run& run, const AttentionLoops& loops) {
  const AttentionTiles tiles(args, run, loops);
  const Index groups = args.k_BSGC.size(2), per_head = tiles.num_tiles(),
              count = args.q_BTHC.size(0) * groups * per_head, value_width = tiles.value_width();
  if (count == 0) return;
  // Parts of the keys where tiles are few. Memory is for the most, whatever there is to cut.
  const Index most_parts = std::clamp<Index>(kItems / count, 1, kMostParts),
              parts = std::clamp<Index>(args.k_BSGC.size(1) / kPartKeys, 1, most_parts);
  const auto tile_of = [&](Index i) {
    return tiles.tile(i / (groups * per_head), i / per_head % groups, i % per_head);
  };
  if (most_parts == 1) {
    parallel_for(*run.executor, count, [&](Index i, int) {
      const AttentionTile tile = tile_of(i);
      Scratch scratch;
      const TileSums sums = take_sums(tile.rows, value_width, scratch);
      sum_keys(tiles, tile, tile.lo, tile.hi, sums);
      finish(args, tiles, loops, tile, sums);
    });
    return;
  }
  Scratch scratch;
  const TileSums all = take_sums(count * most_parts * tiles.most_rows(), value_width, scratch);
  const auto sums_of = [&](Index i, Index part) {
    return sums_from(all, (i * parts + part) * tiles.most_rows(), value_width);
  };
  parallel_for(*run.executor, count * parts, [&](Index item, int) {
    const AttentionTile tile = tile_of(item / parts);
    const Index part = item % parts,
                keys = pieces(pieces(tile.hi - tile.lo, parts), kBlockKeys) * kBlockKeys;
    sum_keys(tiles, tile, std::min(tile.hi, tile.lo + part * keys),
             std::min(tile.hi, tile.lo + (part + 1) * keys), sums_of(item / parts, part));
  });
  for (Index i = 0; i < count; ++i) {
    const AttentionTile tile = tile_of(i);
    for (Index part = 1; part < parts; ++part)
      merge(loops, tile.rows, value_width, sums_of(i, 0), sums_of(i, part));
    finish(args, tiles, loops, tile, sums_of(i, 0));
  }
}

}  // namespace mote::kernels
