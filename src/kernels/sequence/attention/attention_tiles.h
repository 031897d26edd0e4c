// Attention in tiles of queries and blocks of keys, for any instruction set with vector loops: what
// both directions do with a tile. Forward is attention_forward.cpp, backward attention_backward.cpp.
#pragma once

#include <algorithm>

#include "base/scratch.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/sequence/attention/attention.h"
#include "kernels/sequence/attention/attention_loops.h"

namespace mote::kernels {

void attention_in_tiles(const Attention& args, const Run& run, const AttentionLoops& loops);
void attention_backward_in_tiles(const AttentionBackward& args, const Run& run,
                                 const AttentionLoops& loops);

template <class T>
T* row_at(const View<T, 4>& x, Index b, Index t, Index h) {
  return x.data + b * x.stride(0) + t * x.stride(1) + h * x.stride(2);
}
// What query t of sequence b sees of the keys that there are.
KeyRange seen_keys(const Attention& args, Index b, Index t);
// How far query 0 of sequence b is behind key 0.
Index standing(const Attention& args, Index b);

inline constexpr Index kBlockKeys = 256;  // keys whose scores are held at a time

// Queries of one sequence that read one key head. Row h * queries + t is query first + t of the
// group's head h.
struct AttentionTile {
  Index b = 0, g = 0, first = 0, queries = 0, rows = 0;
  Index lo = 0, hi = 0;  // keys [lo, hi) are all that any of them sees
};

// Keys [first, first + count).
struct KeyBlock {
  Index first = 0, count = 0;
};

// What rows have summed so far, for largest and sum see SoftmaxStep.
struct TileSums {
  float *o_RE = nullptr, *largest_R = nullptr, *sum_R = nullptr;
};

// Memory of a tile. A line holds what depends on distance alone, for a head or a row: column c is
// for the distance of the last query from key c of the block, so query t's begin at queries - 1 - t.
struct TileBuffers {
  float *qu_RC, *qw_RC;  // queries with their biases
  float* x_RK;           // scores by content, then weights
  float* y_RL;           // scores by position, in lines
  float* bias_GL;        // the table's part, a line per head
  Index line;
};

class AttentionTiles {
 public:
  AttentionTiles(const Attention& args, const Run& run, const AttentionLoops& loops);

  Index width() const { return width_; }
  Index value_width() const { return value_width_; }
  Index num_tiles() const { return (a_.q_BTHC.size(1) + queries_ - 1) / queries_; }
  Index most_rows() const { return shared_ * queries_; }
  Index head(const AttentionTile& tile, Index h) const { return tile.g * shared_ + h; }
  Index heads() const { return shared_; }

  AttentionTile tile(Index b, Index g, Index number) const;

  TileBuffers buffers(const AttentionTile& tile, Scratch& scratch) const;

  // Queries with their biases.
  void start(const AttentionTile& tile, const TileBuffers& to) const;

  // x = (q + u) k^T; y = (q + w) r^T and the bias by distance.
  void scores(const AttentionTile& tile, const KeyBlock& block, const TileBuffers& to) const;

  // x := e^(score - largest so far); what was summed before is rescaled.
  void softmax(const AttentionTile& tile, const KeyBlock& block, const TileBuffers& at,
               const TileSums& sums) const;

  // x := weights, from lse; dp := d loss / d (x + y).
  void softmax_backward(const AttentionTile& tile, const KeyBlock& block, const TileBuffers& at,
                        float* dp_RK, float* dbias_GL, const float* mean_dp_R,
                        ScaleSums* for_scale_R) const;

  // o += x v
  void add_values(const AttentionTile& tile, const KeyBlock& block, const TileBuffers& at,
                  const TileSums& sums) const;

  // c = a b, or c += a b
  void product(Index m, Index n, Index k, const Operand& a, const Operand& b, float* c,
               Index c_stride, bool accumulate) const;

  // Rows of r that queries of the tile may need for a block: `count` from `row` on, of which the
  // first belongs to column `column` of a line. Columns outside are of keys that no query sees.
  struct Distances {
    Index row = 0, column = 0, count = 0;
  };
  Distances distances(const AttentionTile& tile, const KeyBlock& block) const;
  const float* r_row(const AttentionTile& tile, Index h, Index row) const;

  Index line_columns(const AttentionTile& tile, const KeyBlock& block) const;
  // Of the bias table, for a column of a line.
  Index bias_column(const AttentionTile& tile, const KeyBlock& block, Index c) const;

  // What query t of the tile sees of a block: [begin, end), empty or within [0, count).
  struct Seen {
    Index begin, end;
  };
  Seen seen_of(const AttentionTile& tile, const KeyBlock& block, Index t) const;

  // Where the log-sum-exp of a row lies.
  float* lse(const AttentionTile& tile, Index h, Index t) const;

  // body(row, h, t)
  template <class Body>
  static void for_rows(const AttentionTile& tile, const Body& body) {
    for (Index row = 0; row < tile.rows; ++row) body(row, row / tile.queries, row % tile.queries);
  }

 private:
  // Of the last query from the first key of the block.
  Index farthest(const AttentionTile& tile, const KeyBlock& block) const;
  const float* y_of(const AttentionTile& tile, const TileBuffers& at, Index row, Index t) const;
  const float* bias_of(const AttentionTile& tile, const TileBuffers& at, Index h, Index t) const;
  void scores_of(Index rows, Index keys, const float* q, const float* k, Index k_stride, float* x,
                 Index x_stride) const;

  const Attention& a_;
  const Run& run_;
  const AttentionLoops& loops_;
  const Variant<Gemm>& gemm_;
  const Index width_, value_width_;
  const Index shared_;   // query heads per key head
  const Index queries_;  // of a tile
};

template <class Body>
void for_key_blocks(Index lo, Index hi, const Body& body) {
  for (Index first = lo; first < hi; first += kBlockKeys)
    body(KeyBlock{first, std::min(kBlockKeys, hi - first)});
}

}  // namespace mote::kernels
