// What attention remembers: per sequence and applied layer, projected keys and values, and the
// relative-position table; of a decoder that reads a source, the source's keys and values too.
//
// A position sees its own block of T up to itself and the `memory` positions before that block,
// whatever the number of positions that one call brings. Keys and values that no later position
// sees are dropped.
#pragma once

#include <vector>

#include "model/torch.h"

namespace mote::model {

class Cache {
 public:
  // How far back a layer sees. `block` 0: to the beginning (plain causal attention), and nothing is
  // ever dropped.
  struct Sight {
    std::int64_t block = 0, memory = 0;
  };
  struct Layer {
    Sight sight;
    Tensor k_BCI, v_BCI;  // capacity in dimension 1; of all heads, I = H * C
    std::int64_t first = 0, count = 0;
    Tensor relative_DHC;  // projected relative positions, as far back as there were positions
  };

  explicit Cache(const std::vector<Sight>& layers);

  // Texts will have up to so many positions: room is made for no more of them.
  void expect(std::int64_t positions) { expected_ = positions; }
  // Position of the next token, the same for every sequence.
  std::int64_t position() const { return position_; }
  Layer& layer(std::int64_t i) { return layers_[static_cast<std::size_t>(i)]; }

  struct Seen {
    Tensor k_BCI, v_BCI;  // the cache's own, of which the first `count` positions are seen
    std::int64_t count = 0;
    std::int64_t first = 0;  // position of its first key
  };
  // Adds the keys and values of the positions from position() on and returns all that they may see.
  Seen append(std::int64_t layer, const Tensor& k_BTI, const Tensor& v_BTI);
  // After all layers have appended `count` positions.
  void advance(std::int64_t count) { position_ += count; }

  // Keys and values of a source, which every position sees, [B or 1, S, I]; with one sequence, all read
  // the same source.
  struct Source {
    Tensor k_BSI, v_BSI;
  };
  Source& source(std::int64_t i) { return sources_[static_cast<std::size_t>(i)]; }
  Tensor source_lengths_B;  // int32: how many of its positions count; undefined: all

  // Sequence b becomes what sequence rows[b] was, of the source too where there is one for each.
  void select(const std::vector<std::int64_t>& rows);
  // To position 0 of new texts, without a source.
  void reset();
  std::uint64_t bytes() const;

 private:
  std::int64_t position_ = 0, expected_ = 0;
  std::vector<Layer> layers_;
  std::vector<Source> sources_;
};

}  // namespace mote::model
