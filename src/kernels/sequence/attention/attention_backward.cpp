#include <cmath>

#include "kernels/sequence/attention/attention_tiles.h"

namespace mote::kernels {
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
  TileBackward(const AttentionBackward& args, const AttentionTiles& tiles,
               const AttentionLoops& loops, const AttentionTile& tile)
      : args_(args), a_(args.forward), tiles_(tiles), loops_(loops), tile_(tile) {
    buffers_ = tiles.buffers(tile, scratch_);
    tiles.start(tile, buffers_);
    do_RE_ = scratch_.take<float>(tile.rows * tiles.value_width());
    mean_dp_R_ = scratch_.take<float>(tile.rows);
    dq_RC_ = zeros(tile.rows * tiles.width(), scratch_);
    dx_RK_ = scratch_.take<float>(tile.rows * kBlockKeys);
    if (args.dscale_BH) {
      for_scale_R_ = scratch_.take<ScaleSums>(tile.rows);
      std::fill_n(for_scale_R_, tile.rows, ScaleSums{});
    }
    if (buffers_.qw_RC) dqw_RC_ = zeros(tile.rows * tiles.width(), scratch_);
    if (args.dbias_BHD) dbias_GL_ = scratch_.take<float>(tiles.heads() * buffers_.line);
  }

  void run() {
    // The mean of dp by the weights is what o tells: sum_j p_j (do . v_j) = do . o.
    AttentionTiles::for_rows(tile_, [&](Index row, Index h, Index t) {
      const Index head = tiles_.head(tile_, h), query = tile_.first + t;
      float* d_o = do_RE_ + row * tiles_.value_width();
      loops_.scaled_row(
          {row_at(args_.do_BTHE, tile_.b, query, head), nullptr, 1, d_o, tiles_.value_width()});
      mean_dp_R_[row] =
          loops_.dot(d_o, row_at(a_.o_BTHE, tile_.b, query, head), tiles_.value_width());
    });
    for_key_blocks(tile_.lo, tile_.hi, [&](const KeyBlock& block) { add_block(block); });
    add_heads();
    AttentionTiles::for_rows(tile_, [&](Index row, Index h, Index t) {
      const Index width = tiles_.width();
      loops_.scaled_row({dq_RC_ + row * width, dqw_RC_ ? dqw_RC_ + row * width : nullptr, 1,
                         row_at(args_.dq_BTHC, tile_.b, tile_.first + t, tiles_.head(tile_, h)),
                         width});
    });
  }

 private:
  void add_block(const KeyBlock& block) {
    const Index width = tiles_.width(), value_width = tiles_.value_width();
    const Operand k{row_at(a_.k_BSGC, tile_.b, block.first, tile_.g), a_.k_BSGC.stride(1),
                    Rows::inner},
        x{buffers_.x_RK, kBlockKeys, Rows::inner}, dx{dx_RK_, kBlockKeys, Rows::inner};
    tiles_.scores(tile_, block, buffers_);
    tiles_.product(
        tile_.rows, block.count, value_width, {do_RE_, value_width, Rows::outer},
        {row_at(a_.v_BSGE, tile_.b, block.first, tile_.g), a_.v_BSGE.stride(1), Rows::outer},
        dx_RK_, kBlockKeys, false);
    if (dbias_GL_) std::fill_n(dbias_GL_, tiles_.heads() * buffers_.line, 0.0f);
    tiles_.softmax_backward(tile_, block, buffers_, dx_RK_, dbias_GL_, mean_dp_R_, for_scale_R_);
    tiles_.product(block.count, value_width, tile_.rows, x, {do_RE_, value_width, Rows::inner},
                   row_at(args_.dv_BSGE, tile_.b, block.first, tile_.g), args_.dv_BSGE.stride(1),
                   true);
    tiles_.product(block.count, width, tile_.rows, dx, {buffers_.qu_RC, width, Rows::inner},
                   row_at(args_.dk_BSGC, tile_.b, block.first, tile_.g), args_.dk_BSGC.stride(1),
                   true);
    tiles_.product(tile_.rows, width, block.count, {dx_RK_, kBlockKeys, Rows::outer}, k, dq_RC_,
                   width, true);
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
  void add_positions(const KeyBlock& block, Index h) {
    const Index width = tiles_.width(), heads = a_.q_BTHC.size(2), line = buffers_.line,
                row = h * tile_.queries;
    float* dy = buffers_.y_RL + row * line;
    std::fill_n(dy, tile_.queries * line, 0.0f);
    for (Index t = 0; t < tile_.queries; ++t)
      std::copy_n(dx_RK_ + (row + t) * kBlockKeys, block.count,
                  dy + t * line + tile_.queries - 1 - t);
    const AttentionTiles::Distances d = tiles_.distances(tile_, block);
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
  const AttentionTiles& tiles_;
  const AttentionLoops& loops_;
  const AttentionTile& tile_;
  Scratch scratch_;
  TileBuffers buffers_;
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
  const AttentionTiles tiles(args.forward, run, loops);
  const Index groups = args.forward.k_BSGC.size(2);
  // One thread has all queries that read a key head of a sequence.
  parallel_for(*run.executor, args.forward.q_BTHC.size(0) * groups, [&](Index item, int) {
    const Index b = item / groups, g = item % groups;
    zero_head(args.dk_BSGC, b, g);
    zero_head(args.dv_BSGE, b, g);
    for (Index h = 0; h < tiles.heads(); ++h) zero_partials(args, b, g * tiles.heads() + h);
    for (Index i = 0; i < tiles.num_tiles(); ++i) {
      const AttentionTile tile = tiles.tile(b, g, i);
      TileBackward(args, tiles, loops, tile).run();
    }
  });
}

}  // namespace mote::kernels
