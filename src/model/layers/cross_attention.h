// Attention of a decoder's positions to what an encoder made of a source (Vaswani et al. 2017; T5:
// specs/checkpoints 2.3).
//
//   y = Wo concat_heads sum_s softmax_s(q_i . k_s) v_s,  q = Wq h, k = Wk z, v = Wv z
// h: normed residual stream, z: the encoder's output, of which the first positions of each sequence
// count; no scale, no positions.
#pragma once

#include "model/forward_state.h"
#include "model/layer_place.h"
#include "model/linear.h"

namespace mote::model {

class CrossAttention {
 public:
  CrossAttention(const checkpoint::AttentionConfig& config, const LayerPlace& place);
  // Of the state's source, or of what remember() put into its cache.
  Tensor forward(const Tensor& h_BTD, const ForwardState& state) const;
  // Keys and values of a source, for all positions to come.
  void remember(const Tensor& source_BSD, Cache& cache, const Pass& pass) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  Tensor attend(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI,
                const Tensor& lengths_B, const Pass& pass) const;

  const LayerPlace place_;
  const std::int64_t heads_, width_;
  const Tensor scale_;
  Linear q_, k_, v_, out_;
};

}  // namespace mote::model
