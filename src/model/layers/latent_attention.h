// Latent attention (MLA, arXiv 2405.04434; specs/checkpoints 3): the keys and values of all heads are
// made from a few numbers of a position, and one turned key is shared by all heads.
//
//   q_h = Wq x, or Wq_up rms(Wq_down x)        [N | R], its last R columns turned by the position
//   [c | r] = Wkv_down x                       c [kv_rank], r [R] turned
//   [k_h | v_h] = Wkv_up rms(c)                head by head, k_h [N], v_h [value_dim]
//   y = Wo concat_heads sum_j softmax_j(scale (q_h . [k_h | r]_j)) v_hj
// The cache holds the keys and values of heads, as other attentions' does.
#pragma once

#include "model/layers/attention.h"

namespace mote::model {

class LatentAttention final : public Attention {
 public:
  LatentAttention(const checkpoint::Latent& config, const LayerPlace& place);
  Tensor forward(const Tensor& h_BSD, std::int64_t asking,
                 const ForwardState& state) const override;
  Tensor forward(const Tensor& h_BTD, const ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  struct KeysAndValues {
    Tensor k_BTI, v_BTI;  // of all heads
  };
  // Before they are turned by their positions.
  Tensor queries(const Tensor& h_BTD, const Pass& pass) const;
  struct Latents {
    Tensor rope_BTR;    // the part of all heads' keys that will be turned
    Tensor plain_BTHC;  // the other part, and values behind it
  };
  Latents latents(const Tensor& h_BTD, const Pass& pass) const;
  // Of the positions from `first` on.
  KeysAndValues keys_and_values(const Latents& latents, std::int64_t first, const Pass& pass) const;
  Tensor turned(const Tensor& x_BTI, std::int64_t heads, std::int64_t first,
                const Pass& pass) const;
  Tensor attend(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI, std::int64_t keys,
                const kernels::AttentionSight& sight, const Pass& pass) const;

  const checkpoint::Latent config_;
  const LayerPlace place_;
  const std::int64_t plain_dim_;  // columns of a head that are not turned
  const Tensor scale_;
  const std::shared_ptr<const RotaryTable> turns_;
  Norm q_norm_, kv_norm_;
  Linear q_, q_down_, q_up_, kv_down_, kv_up_, out_;
};

}  // namespace mote::model
