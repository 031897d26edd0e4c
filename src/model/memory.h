// Transformer-XL's memory in training: the residual stream that entered each block, for the last
// positions, without gradient.
#pragma once

#include <vector>

#include "model/torch.h"

namespace mote::model {

class Memory {
 public:
  // What is remembered of block `layer`, [B, M, D] or undefined; from then on the last `keep`
  // positions of that and x_BTD are.
  Tensor exchange(std::int64_t layer, const Tensor& x_BTD, std::int64_t keep);
  void reset() { layers_BMD.clear(); }
  // What is remembered of `count` sequences from `first` on.
  Memory of_sequences(std::int64_t first, std::int64_t count) const;
  // Of the sequences of all parts, in their order.
  static Memory joined(const std::vector<Memory>& parts);

  std::vector<Tensor> layers_BMD;  // empty, or one per block; undefined: nothing
};

}  // namespace mote::model
