#include "kernels/sequence/attention/attention_tiles.h"

namespace mote::kernels {
namespace {

constexpr Index kTileRows = 64;  // about: queries of all heads that share a key head
constexpr Index kFewRows = 16;   // up to so many rows, packing keys costs more than the product

}  // namespace

AttentionTiles::AttentionTiles(const Attention& args, const Run& run, const AttentionLoops& loops)
    : a_(args),
      run_(run),
      loops_(loops),
      gemm_(gemm_variant({}, run)),
      width_(args.q_BTHC.size(3)),
      value_width_(args.v_BSGE.size(3)),
      shared_(args.k_BSGC.size(2) == 0 ? 1 : args.q_BTHC.size(2) / args.k_BSGC.size(2)),
      queries_(std::min(std::max<Index>(1, args.q_BTHC.size(1)),
                        std::max<Index>(1, kTileRows / std::max<Index>(1, shared_)))) {}

AttentionTile AttentionTiles::tile(Index b, Index g, Index number) const {
  AttentionTile tile{b, g, number * queries_};
  tile.queries = std::min(queries_, a_.q_BTHC.size(1) - tile.first);
  tile.rows = shared_ * tile.queries;
  tile.lo = a_.k_BSGC.size(1);
  for (Index t = tile.first; t < tile.first + tile.queries; ++t) {
    const KeyRange seen = seen_keys(a_, b, t);
    if (seen.last < seen.first) continue;
    tile.lo = std::min<Index>(tile.lo, seen.first);
    tile.hi = std::max<Index>(tile.hi, seen.last + 1);
  }
  tile.lo = std::min(tile.lo, tile.hi);
  return tile;
}

TileBuffers AttentionTiles::buffers(const AttentionTile& tile, Scratch& scratch) const {
  TileBuffers made{};
  made.line = kBlockKeys + tile.queries - 1;
  made.qu_RC = scratch.take<float>(tile.rows * width_);
  made.x_RK = scratch.take<float>(tile.rows * kBlockKeys);
  if (a_.r_DHC.data) {
    made.qw_RC = scratch.take<float>(tile.rows * width_);
    made.y_RL = scratch.take<float>(tile.rows * made.line);
  }
  if (a_.bias_HD.data) made.bias_GL = scratch.take<float>(shared_ * made.line);
  return made;
}

void AttentionTiles::start(const AttentionTile& tile, const TileBuffers& to) const {
  for_rows(tile, [&](Index row, Index h, Index t) {
    const float* q = row_at(a_.q_BTHC, tile.b, tile.first + t, head(tile, h));
    const auto with = [&](const float* add_HC, float* q_RC) {
      const float* add = add_HC ? add_HC + head(tile, h) * width_ : nullptr;
      loops_.scaled_row({q, add, 1, q_RC + row * width_, width_});
    };
    with(a_.u_HC, to.qu_RC);
    if (to.qw_RC) with(a_.w_HC, to.qw_RC);
  });
}

void AttentionTiles::scores(const AttentionTile& tile, const KeyBlock& block,
                            const TileBuffers& to) const {
  scores_of(tile.rows, block.count, to.qu_RC, row_at(a_.k_BSGC, tile.b, block.first, tile.g),
            a_.k_BSGC.stride(1), to.x_RK, kBlockKeys);
  for (Index h = 0; h < shared_; ++h) {
    if (to.y_RL) {
      const Distances d = distances(tile, block);
      const Index row = h * tile.queries;
      scores_of(tile.queries, d.count, to.qw_RC + row * width_, r_row(tile, h, d.row),
                a_.r_DHC.stride(0), to.y_RL + row * to.line + d.column, to.line);
    }
    if (to.bias_GL) {
      float* line = to.bias_GL + h * to.line;
      const float* bias = a_.bias_HD.row(head(tile, h));
      for (Index c = 0; c < line_columns(tile, block); ++c)
        line[c] = bias[bias_column(tile, block, c)];
    }
  }
}

void AttentionTiles::softmax(const AttentionTile& tile, const KeyBlock& block,
                             const TileBuffers& at, const TileSums& sums) const {
  for_rows(tile, [&](Index row, Index h, Index t) {
    const auto [begin, end] = seen_of(tile, block, t);
    const float kept = loops_.softmax_step({at.x_RK + row * kBlockKeys, y_of(tile, at, row, t),
                                            bias_of(tile, at, h, t), begin, end, block.count,
                                            a_.scale, sums.largest_R + row, sums.sum_R + row});
    if (kept == 1) return;
    float* o = sums.o_RE + row * value_width_;
    loops_.scaled_row({o, nullptr, kept, o, value_width_});
  });
}

void AttentionTiles::softmax_backward(const AttentionTile& tile, const KeyBlock& block,
                                      const TileBuffers& at, float* dp_RK, float* dbias_GL,
                                      const float* mean_dp_R, ScaleSums* for_scale_R) const {
  for_rows(tile, [&](Index row, Index h, Index t) {
    const auto [begin, end] = seen_of(tile, block, t);
    float* dbias = dbias_GL ? dbias_GL + h * at.line + (tile.queries - 1 - t) : nullptr;
    loops_.softmax_backward_step({at.x_RK + row * kBlockKeys, y_of(tile, at, row, t),
                                  bias_of(tile, at, h, t), dp_RK + row * kBlockKeys, dbias, begin,
                                  end, block.count, a_.scale, *lse(tile, h, t), mean_dp_R[row],
                                  for_scale_R ? for_scale_R + row : nullptr});
  });
}

void AttentionTiles::add_values(const AttentionTile& tile, const KeyBlock& block,
                                const TileBuffers& at, const TileSums& sums) const {
  const float* v = row_at(a_.v_BSGE, tile.b, block.first, tile.g);
  if (tile.rows <= kFewRows)
    return loops_.few_sums({at.x_RK, kBlockKeys, v, a_.v_BSGE.stride(1), tile.rows, block.count,
                            value_width_, sums.o_RE, value_width_});
  product(tile.rows, value_width_, block.count, {at.x_RK, kBlockKeys, Rows::outer},
          {v, a_.v_BSGE.stride(1), Rows::inner}, sums.o_RE, value_width_, true);
}

void AttentionTiles::product(Index m, Index n, Index k, const Operand& a, const Operand& b,
                             float* c, Index c_stride, bool accumulate) const {
  if (m == 0 || n == 0) return;
  Gemm g;
  g.m = m, g.n = n, g.k = k;
  g.a = a, g.b = b;
  g.c = c, g.c_stride = c_stride;
  g.finish.accumulate = accumulate;
  gemm_.call(g, run_);
}

AttentionTiles::Distances AttentionTiles::distances(const AttentionTile& tile,
                                                    const KeyBlock& block) const {
  const Index all = a_.r_DHC.size(0), first = all - 1 - farthest(tile, block);
  Distances d;
  d.row = std::clamp<Index>(first, 0, all);
  d.column = d.row - first;
  d.count = std::max<Index>(0, std::min(all - d.row, line_columns(tile, block) - d.column));
  return d;
}

const float* AttentionTiles::r_row(const AttentionTile& tile, Index h, Index row) const {
  return &a_.r_DHC(row, head(tile, h), 0);
}

Index AttentionTiles::line_columns(const AttentionTile& tile, const KeyBlock& block) const {
  return block.count + tile.queries - 1;
}

Index AttentionTiles::bias_column(const AttentionTile& tile, const KeyBlock& block, Index c) const {
  return std::clamp<Index>(a_.bias_farthest - farthest(tile, block) + c, 0, a_.bias_HD.size(1) - 1);
}

AttentionTiles::Seen AttentionTiles::seen_of(const AttentionTile& tile, const KeyBlock& block,
                                             Index t) const {
  const KeyRange seen = seen_keys(a_, tile.b, tile.first + t);
  return {std::max<Index>(0, seen.first - block.first),
          std::min<Index>(block.count, seen.last + 1 - block.first)};
}

float* AttentionTiles::lse(const AttentionTile& tile, Index h, Index t) const {
  const Index heads = a_.q_BTHC.size(2);
  return a_.lse_BHT + (tile.b * heads + head(tile, h)) * a_.q_BTHC.size(1) + tile.first + t;
}

Index AttentionTiles::farthest(const AttentionTile& tile, const KeyBlock& block) const {
  return standing(a_, tile.b) + tile.first + tile.queries - 1 - block.first;
}

const float* AttentionTiles::y_of(const AttentionTile& tile, const TileBuffers& at, Index row,
                                  Index t) const {
  return at.y_RL ? at.y_RL + row * at.line + (tile.queries - 1 - t) : nullptr;
}

const float* AttentionTiles::bias_of(const AttentionTile& tile, const TileBuffers& at, Index h,
                                     Index t) const {
  return at.bias_GL ? at.bias_GL + h * at.line + (tile.queries - 1 - t) : nullptr;
}

void AttentionTiles::scores_of(Index rows, Index keys, const float* q, const float* k,
                               Index k_stride, float* x, Index x_stride) const {
  if (rows <= kFewRows)
    return loops_.few_scores({q, width_, k, k_stride, rows, keys, width_, x, x_stride});
  product(rows, keys, width_, {q, width_, Rows::outer}, {k, k_stride, Rows::outer}, x, x_stride,
          false);
}

}  // namespace mote::kernels
