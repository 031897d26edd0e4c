#include "kernels/sequence/attention/attention_tiles.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/scratch.h"
#include "kernels/linear/gemm/gemm.h"

namespace mote::kernels {
namespace {

constexpr Index kTileRows = 64;   // about: queries of all heads that share a key head
constexpr Index kBlock = 256;     // keys whose scores are held at a time
constexpr Index kFewRows = 16;    // up to so many rows, packing keys costs more than the product
constexpr Index kItems = 32;      // pieces of forward's work that are enough for any machine
constexpr Index kMostParts = 16;  // of the keys of a tile
constexpr Index kPartKeys = 1024;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

constexpr Index pieces(Index size, Index piece) {
  return (size + piece - 1) / piece;
}

// Queries of one sequence that read one key head. Row h * queries + t is query first + t of the
// group's head h.
struct Tile {
  Index b = 0, g = 0, first = 0, queries = 0, rows = 0;
  Index lo = 0, hi = 0;  // keys [lo, hi) are all that any of them sees
};

// Keys [first, first + count).
struct Block {
  Index first = 0, count = 0;
};

// What rows have summed so far, for largest and sum see SoftmaxStep.
struct Sums {
  float *o_RE = nullptr, *largest_R = nullptr, *sum_R = nullptr;
};

// Memory of a tile. A line holds what depends on distance alone, for a head or a row: column c is
// for the distance of the last query from key c of the block, so query t's begin at queries - 1 - t.
struct Buffers {
  float *qu_RC, *qw_RC;  // queries with their biases
  float* x_RK;           // scores by content, then weights
  float* y_RL;           // scores by position, in lines
  float* bias_GL;        // the table's part, a line per head
  Index line;
};

class Tiles {
 public:
  Tiles(const Attention& args, const Run& run, const AttentionLoops& loops)
      : a_(args),
        run_(run),
        loops_(loops),
        gemm_(gemm_variant({}, run)),
        width_(args.q_BTHC.size(3)),
        value_width_(args.v_BSGE.size(3)),
        shared_(args.k_BSGC.size(2) == 0 ? 1 : args.q_BTHC.size(2) / args.k_BSGC.size(2)),
        queries_(std::min(std::max<Index>(1, args.q_BTHC.size(1)),
                          std::max<Index>(1, kTileRows / std::max<Index>(1, shared_)))) {}

  Index width() const { return width_; }
  Index value_width() const { return value_width_; }
  Index num_tiles() const { return pieces(a_.q_BTHC.size(1), queries_); }
  Index most_rows() const { return shared_ * queries_; }
  Index head(const Tile& tile, Index h) const { return tile.g * shared_ + h; }
  Index heads() const { return shared_; }

  Tile tile(Index b, Index g, Index number) const {
    Tile tile{b, g, number * queries_};
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

  Buffers buffers(const Tile& tile, Scratch& scratch) const {
    Buffers made{};
    made.line = kBlock + tile.queries - 1;
    made.qu_RC = scratch.take<float>(tile.rows * width_);
    made.x_RK = scratch.take<float>(tile.rows * kBlock);
    if (a_.r_DHC.data) {
      made.qw_RC = scratch.take<float>(tile.rows * width_);
      made.y_RL = scratch.take<float>(tile.rows * made.line);
    }
    if (a_.bias_HD.data) made.bias_GL = scratch.take<float>(shared_ * made.line);
    return made;
  }

  // Queries with their biases.
  void start(const Tile& tile, const Buffers& to) const {
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

  // x = (q + u) k^T; y = (q + w) r^T and the bias by distance.
  void scores(const Tile& tile, const Block& block, const Buffers& to) const {
    scores_of(tile.rows, block.count, to.qu_RC, row_at(a_.k_BSGC, tile.b, block.first, tile.g),
              a_.k_BSGC.stride(1), to.x_RK, kBlock);
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

  void softmax(const Tile& tile, const Block& block, const Buffers& at, const Sums& sums) const {
    for_rows(tile, [&](Index row, Index h, Index t) {
      const auto [begin, end] = seen_of(tile, block, t);
      const float kept = loops_.softmax_step({at.x_RK + row * kBlock, y_of(tile, at, row, t),
                                              bias_of(tile, at, h, t), begin, end, block.count,
                                              a_.scale, sums.largest_R + row, sums.sum_R + row});
      if (kept == 1) return;
      float* o = sums.o_RE + row * value_width_;
      loops_.scaled_row({o, nullptr, kept, o, value_width_});
    });
  }

  void softmax_backward(const Tile& tile, const Block& block, const Buffers& at, float* dp_RK,
                        float* dbias_GL, const float* mean_dp_R, ScaleSums* for_scale_R) const {
    for_rows(tile, [&](Index row, Index h, Index t) {
      const auto [begin, end] = seen_of(tile, block, t);
      float* dbias = dbias_GL ? dbias_GL + h * at.line + (tile.queries - 1 - t) : nullptr;
      loops_.softmax_backward_step({at.x_RK + row * kBlock, y_of(tile, at, row, t),
                                    bias_of(tile, at, h, t), dp_RK + row * kBlock, dbias, begin,
                                    end, block.count, a_.scale, *lse(tile, h, t), mean_dp_R[row],
                                    for_scale_R ? for_scale_R + row : nullptr});
    });
  }

  // o += x v
  void add_values(const Tile& tile, const Block& block, const Buffers& at, const Sums& sums) const {
    const float* v = row_at(a_.v_BSGE, tile.b, block.first, tile.g);
    if (tile.rows <= kFewRows)
      return loops_.few_sums({at.x_RK, kBlock, v, a_.v_BSGE.stride(1), tile.rows, block.count,
                              value_width_, sums.o_RE, value_width_});
    product(tile.rows, value_width_, block.count, {at.x_RK, kBlock, Rows::outer},
            {v, a_.v_BSGE.stride(1), Rows::inner}, sums.o_RE, value_width_, true);
  }

  void product(Index m, Index n, Index k, const Operand& a, const Operand& b, float* c,
               Index c_stride, bool accumulate) const {
    if (m == 0 || n == 0) return;
    Gemm g;
    g.m = m, g.n = n, g.k = k;
    g.a = a, g.b = b;
    g.c = c, g.c_stride = c_stride;
    g.finish.accumulate = accumulate;
    gemm_.call(g, run_);
  }

  // Rows of r that queries of the tile may need for a block: `count` from `row` on, of which the
  // first belongs to column `column` of a line. Columns outside are of keys that no query sees.
  struct Distances {
    Index row = 0, column = 0, count = 0;
  };
  Distances distances(const Tile& tile, const Block& block) const {
    const Index all = a_.r_DHC.size(0), first = all - 1 - farthest(tile, block);
    Distances d;
    d.row = std::clamp<Index>(first, 0, all);
    d.column = d.row - first;
    d.count = std::max<Index>(0, std::min(all - d.row, line_columns(tile, block) - d.column));
    return d;
  }
  const float* r_row(const Tile& tile, Index h, Index row) const {
    return &a_.r_DHC(row, head(tile, h), 0);
  }

  Index line_columns(const Tile& tile, const Block& block) const {
    return block.count + tile.queries - 1;
  }
  // Of the bias table, for a column of a line.
  Index bias_column(const Tile& tile, const Block& block, Index c) const {
    return std::clamp<Index>(a_.bias_farthest - farthest(tile, block) + c, 0,
                             a_.bias_HD.size(1) - 1);
  }

  // What query t of the tile sees of a block: [begin, end), empty or within [0, count).
  struct Seen {
    Index begin, end;
  };
  Seen seen_of(const Tile& tile, const Block& block, Index t) const {
    const KeyRange seen = seen_keys(a_, tile.b, tile.first + t);
    return {std::max<Index>(0, seen.first - block.first),
            std::min<Index>(block.count, seen.last + 1 - block.first)};
  }

  float* lse(const Tile& tile, Index h, Index t) const {
    const Index heads = a_.q_BTHC.size(2);
    return a_.lse_BHT + (tile.b * heads + head(tile, h)) * a_.q_BTHC.size(1) + tile.first + t;
  }

  // body(row, h, t)
  template <class Body>
  static void for_rows(const Tile& tile, const Body& body) {
    for (Index row = 0; row < tile.rows; ++row) body(row, row / tile.queries, row % tile.queries);
  }

 private:
  // Of the last query from the first key of the block.
  Index farthest(const Tile& tile, const Block& block) const {
    return standing(a_, tile.b) + tile.first + tile.queries - 1 - block.first;
  }
  const float* y_of(const Tile& tile, const Buffers& at, Index row, Index t) const {
    return at.y_RL ? at.y_RL + row * at.line + (tile.queries - 1 - t) : nullptr;
  }
  const float* bias_of(const Tile& tile, const Buffers& at, Index h, Index t) const {
    return at.bias_GL ? at.bias_GL + h * at.line + (tile.queries - 1 - t) : nullptr;
  }
  void scores_of(Index rows, Index keys, const float* q, const float* k, Index k_stride, float* x,
                 Index x_stride) const {
    if (rows <= kFewRows)
      return loops_.few_scores({q, width_, k, k_stride, rows, keys, width_, x, x_stride});
    product(rows, keys, width_, {q, width_, Rows::outer}, {k, k_stride, Rows::outer}, x, x_stride,
            false);
  }

  const Attention& a_;
  const Run& run_;
  const AttentionLoops& loops_;
  const Variant<Gemm>& gemm_;
  const Index width_, value_width_;
  const Index shared_;   // query heads per key head
  const Index queries_;  // of a tile
};

template <class Body>
void for_blocks(Index lo, Index hi, const Body& body) {
  for (Index first = lo; first < hi; first += kBlock)
    body(Block{first, std::min(kBlock, hi - first)});
}

Sums take_sums(Index rows, Index value_width, Scratch& scratch) {
  return {scratch.take<float>(rows * value_width), scratch.take<float>(rows),
          scratch.take<float>(rows)};
}
Sums sums_from(const Sums& all, Index row, Index value_width) {
  return {all.o_RE + row * value_width, all.largest_R + row, all.sum_R + row};
}

// The sums of a tile over keys [lo, hi).
void sum_keys(const Tiles& tiles, const Tile& tile, Index lo, Index hi, const Sums& sums) {
  std::fill_n(sums.o_RE, tile.rows * tiles.value_width(), 0.0f);
  std::fill_n(sums.largest_R, tile.rows, kNothing);
  std::fill_n(sums.sum_R, tile.rows, 0.0f);
  Scratch scratch;
  const Buffers buffers = tiles.buffers(tile, scratch);
  tiles.start(tile, buffers);
  for_blocks(lo, hi, [&](const Block& block) {
    tiles.scores(tile, block, buffers);
    tiles.softmax(tile, block, buffers, sums);
    tiles.add_values(tile, block, buffers, sums);
  });
}

// What the parts of a tile's keys summed, into the first of them.
void merge(const AttentionLoops& loops, Index rows, Index value_width, const Sums& to,
           const Sums& part) {
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
void finish(const Attention& a, const Tiles& tiles, const AttentionLoops& loops, const Tile& tile,
            const Sums& sums) {
  Tiles::for_rows(tile, [&](Index row, Index h, Index t) {
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
  const Tiles tiles(args, run, loops);
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
      const Tile tile = tile_of(i);
      Scratch scratch;
      const Sums sums = take_sums(tile.rows, value_width, scratch);
      sum_keys(tiles, tile, tile.lo, tile.hi, sums);
      finish(args, tiles, loops, tile, sums);
    });
    return;
  }
  Scratch scratch;
  const Sums all = take_sums(count * most_parts * tiles.most_rows(), value_width, scratch);
  const auto sums_of = [&](Index i, Index part) {
    return sums_from(all, (i * parts + part) * tiles.most_rows(), value_width);
  };
  parallel_for(*run.executor, count * parts, [&](Index item, int) {
    const Tile tile = tile_of(item / parts);
    const Index part = item % parts,
                keys = pieces(pieces(tile.hi - tile.lo, parts), kBlock) * kBlock;
    sum_keys(tiles, tile, std::min(tile.hi, tile.lo + part * keys),
             std::min(tile.hi, tile.lo + (part + 1) * keys), sums_of(item / parts, part));
  });
  for (Index i = 0; i < count; ++i) {
    const Tile tile = tile_of(i);
    for (Index part = 1; part < parts; ++part)
      merge(loops, tile.rows, value_width, sums_of(i, 0), sums_of(i, part));
    finish(args, tiles, loops, tile, sums_of(i, 0));
  }
}

namespace {

void add_rows(const AttentionLoops& loops, const float* x, Index rows, Index columns, float* sums) {
  for (Index i = 0; i < rows; ++i) loops.scaled_row({x + i * columns, sums, 1, sums, columns});
}

float* zeros(Index count, Scratch& scratch) {
  float* all = scratch.take<float>(count);
  std::fill_n(all, count, 0.0f);
  return all;
}

// One tile, backwards. Gradients of keys, values, r, biases and sinks are added to.
class TileBackward {
 public:
  TileBackward(const AttentionBackward& args, const Tiles& tiles, const AttentionLoops& loops,
               const Tile& tile)
      : args_(args), a_(args.forward), tiles_(tiles), loops_(loops), tile_(tile) {
    buffers_ = tiles.buffers(tile, scratch_);
    tiles.start(tile, buffers_);
    do_RE_ = scratch_.take<float>(tile.rows * tiles.value_width());
    mean_dp_R_ = scratch_.take<float>(tile.rows);
    dq_RC_ = zeros(tile.rows * tiles.width(), scratch_);
    dx_RK_ = scratch_.take<float>(tile.rows * kBlock);
    if (args.dscale_BH) {
      for_scale_R_ = scratch_.take<ScaleSums>(tile.rows);
      std::fill_n(for_scale_R_, tile.rows, ScaleSums{});
    }
    if (buffers_.qw_RC) dqw_RC_ = zeros(tile.rows * tiles.width(), scratch_);
    if (args.dbias_BHD) dbias_GL_ = scratch_.take<float>(tiles.heads() * buffers_.line);
  }

  void run() {
    // The mean of dp by the weights is what o tells: sum_j p_j (do . v_j) = do . o.
    Tiles::for_rows(tile_, [&](Index row, Index h, Index t) {
      const Index head = tiles_.head(tile_, h), query = tile_.first + t;
      float* d_o = do_RE_ + row * tiles_.value_width();
      loops_.scaled_row(
          {row_at(args_.do_BTHE, tile_.b, query, head), nullptr, 1, d_o, tiles_.value_width()});
      mean_dp_R_[row] =
          loops_.dot(d_o, row_at(a_.o_BTHE, tile_.b, query, head), tiles_.value_width());
    });
    for_blocks(tile_.lo, tile_.hi, [&](const Block& block) { add_block(block); });
    add_heads();
    Tiles::for_rows(tile_, [&](Index row, Index h, Index t) {
      const Index width = tiles_.width();
      loops_.scaled_row({dq_RC_ + row * width, dqw_RC_ ? dqw_RC_ + row * width : nullptr, 1,
                         row_at(args_.dq_BTHC, tile_.b, tile_.first + t, tiles_.head(tile_, h)),
                         width});
    });
  }

 private:
  void add_block(const Block& block) {
    const Index width = tiles_.width(), value_width = tiles_.value_width();
    const Operand k{row_at(a_.k_BSGC, tile_.b, block.first, tile_.g), a_.k_BSGC.stride(1),
                    Rows::inner},
        x{buffers_.x_RK, kBlock, Rows::inner}, dx{dx_RK_, kBlock, Rows::inner};
    tiles_.scores(tile_, block, buffers_);
    tiles_.product(
        tile_.rows, block.count, value_width, {do_RE_, value_width, Rows::outer},
        {row_at(a_.v_BSGE, tile_.b, block.first, tile_.g), a_.v_BSGE.stride(1), Rows::outer},
        dx_RK_, kBlock, false);
    if (dbias_GL_) std::fill_n(dbias_GL_, tiles_.heads() * buffers_.line, 0.0f);
    tiles_.softmax_backward(tile_, block, buffers_, dx_RK_, dbias_GL_, mean_dp_R_, for_scale_R_);
    tiles_.product(block.count, value_width, tile_.rows, x, {do_RE_, value_width, Rows::inner},
                   row_at(args_.dv_BSGE, tile_.b, block.first, tile_.g), args_.dv_BSGE.stride(1),
                   true);
    tiles_.product(block.count, width, tile_.rows, dx, {buffers_.qu_RC, width, Rows::inner},
                   row_at(args_.dk_BSGC, tile_.b, block.first, tile_.g), args_.dk_BSGC.stride(1),
                   true);
    tiles_.product(tile_.rows, width, block.count, {dx_RK_, kBlock, Rows::outer}, k, dq_RC_, width,
                   true);
    for (Index h = 0; h < tiles_.heads(); ++h) {
      if (buffers_.qw_RC) add_positions(block, h);
      if (dbias_GL_) {
        const Index columns = a_.bias_HD.size(1);
        float* dbias = args_.dbias_BHD + item(h) * columns;
        for (Index c = 0; c < tiles_.line_columns(tile_, block); ++c)
          dbias[tiles_.bias_column(tile_, block, c)] += dbias_GL_[h * buffers_.line + c];
      }
    }
  }

  // The gradient of y is that of x moved back into lines; what falls outside a row's sight is 0.
  void add_positions(const Block& block, Index h) {
    const Index width = tiles_.width(), heads = a_.q_BTHC.size(2), line = buffers_.line,
                row = h * tile_.queries;
    float* dy = buffers_.y_RL + row * line;
    std::fill_n(dy, tile_.queries * line, 0.0f);
    for (Index t = 0; t < tile_.queries; ++t)
      std::copy_n(dx_RK_ + (row + t) * kBlock, block.count, dy + t * line + tile_.queries - 1 - t);
    const Tiles::Distances d = tiles_.distances(tile_, block);
    dy += d.column;
    const float* qw = buffers_.qw_RC + row * width;
    if (args_.dr_BDHC)
      tiles_.product(
          d.count, width, tile_.queries, {dy, line, Rows::inner}, {qw, width, Rows::inner},
          args_.dr_BDHC +
              ((tile_.b * a_.r_DHC.size(0) + d.row) * heads + tiles_.head(tile_, h)) * width,
          heads * width, true);
    if (d.count > 0)
      tiles_.product(tile_.queries, width, d.count, {dy, line, Rows::outer},
                     {tiles_.r_row(tile_, h, d.row), a_.r_DHC.stride(0), Rows::inner},
                     dqw_RC_ + row * width, width, true);
  }

  void add_heads() {
    for (Index h = 0; h < tiles_.heads(); ++h) {
      const Index width = tiles_.width(), row = h * tile_.queries;
      if (args_.du_BHC)
        add_rows(loops_, dq_RC_ + row * width, tile_.queries, width,
                 args_.du_BHC + item(h) * width);
      if (args_.dw_BHC)
        add_rows(loops_, dqw_RC_ + row * width, tile_.queries, width,
                 args_.dw_BHC + item(h) * width);
      for (Index t = 0; t < tile_.queries; ++t) {
        const float mean = mean_dp_R_[row + t],
                    dsink = a_.sink_H ? -mean * std::exp(a_.sink_H[tiles_.head(tile_, h)] -
                                                         *tiles_.lse(tile_, h, t))
                                      : 0;
        if (args_.dsink_BH) args_.dsink_BH[item(h)] += dsink;
        if (!for_scale_R_) continue;
        const ScaleSums& sums = for_scale_R_[row + t];
        args_.dscale_BH[item(h)] += sums.ds_score - (sums.ds + dsink) * sums.p_score;
      }
    }
  }

  Index item(Index h) const { return tile_.b * a_.q_BTHC.size(2) + tiles_.head(tile_, h); }

  const AttentionBackward& args_;
  const Attention& a_;
  const Tiles& tiles_;
  const AttentionLoops& loops_;
  const Tile& tile_;
  Scratch scratch_;
  Buffers buffers_;
  float *do_RE_ = nullptr, *mean_dp_R_ = nullptr, *dq_RC_ = nullptr, *dqw_RC_ = nullptr;
  float *dx_RK_ = nullptr, *dbias_GL_ = nullptr;
  ScaleSums* for_scale_R_ = nullptr;
};

void zero_head(const View<float, 4>& x, Index b, Index h) {
  for (Index t = 0; t < x.size(1); ++t) std::fill_n(row_at(x, b, t, h), x.size(3), 0.0f);
}

// The partial sums of one sequence and head.
void zero_partials(const AttentionBackward& args, Index b, Index h) {
  const Attention& a = args.forward;
  const Index heads = a.q_BTHC.size(2), width = a.q_BTHC.size(3), distances = a.r_DHC.size(0),
              columns = a.bias_HD.size(1), item = b * heads + h;
  if (args.dr_BDHC)
    for (Index d = 0; d < distances; ++d)
      std::fill_n(args.dr_BDHC + ((b * distances + d) * heads + h) * width, width, 0.0f);
  if (args.du_BHC) std::fill_n(args.du_BHC + item * width, width, 0.0f);
  if (args.dw_BHC) std::fill_n(args.dw_BHC + item * width, width, 0.0f);
  if (args.dbias_BHD) std::fill_n(args.dbias_BHD + item * columns, columns, 0.0f);
  if (args.dsink_BH) args.dsink_BH[item] = 0;
  if (args.dscale_BH) args.dscale_BH[item] = 0;
}

}  // namespace

void attention_backward_in_tiles(const AttentionBackward& args, const Run& run,
                                 const AttentionLoops& loops) {
  const Tiles tiles(args.forward, run, loops);
  const Index groups = args.forward.k_BSGC.size(2);
  // One thread has all queries that read a key head of a sequence.
  parallel_for(*run.executor, args.forward.q_BTHC.size(0) * groups, [&](Index item, int) {
    const Index b = item / groups, g = item % groups;
    zero_head(args.dk_BSGC, b, g);
    zero_head(args.dv_BSGE, b, g);
    for (Index h = 0; h < tiles.heads(); ++h) zero_partials(args, b, g * tiles.heads() + h);
    for (Index i = 0; i < tiles.num_tiles(); ++i) {
      const Tile tile = tiles.tile(b, g, i);
      TileBackward(args, tiles, loops, tile).run();
    }
  });
}

}  // namespace mote::kernels
