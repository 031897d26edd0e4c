// Self-attention of one block (specs/sparse-ffn 3.1: Transformer-XL, Dai et al. 2019; plain causal
// attention; or T5's, layers/position_bias.h).
//
//   q = Wq h_i,  k_j = Wk h_j,  v_j = Wv h_j,  h the layer norm of the residual stream and memory
//   logit_ij = c ((q_i + u) . k_j + (q_i + w) . (Wp pe(j - i))),
//   y_i = Wo concat_heads sum_j softmax_j v_j
// c is a learned scalar, 1/sqrt(dh) at first. The sign of the distance is opposite to the XL
// paper's, as in the published program. Departure: the program's unused scalar per layer is left
// out. Plain attention has u = w = Wp = 0 and c = 1/sqrt(dh).
//
// Rotary attention (checkpoint::Rotary): q and k are normed by heads, if at all, clamped, and turned by
// their positions; query heads share heads of keys and values; with a window position i sees
// i - window + 1, ..., i; a sink's exp joins the softmax's sum. The order is that of transformers'
// models: bias, norm, clamp, turn.
#pragma once

#include <memory>
#include <optional>

#include "kernels/sequence/attention/attention.h"
#include "model/forward_state.h"
#include "model/layer_place.h"
#include "model/layers/norm.h"
#include "model/layers/rotary.h"
#include "model/linear.h"

namespace mote::model {

class Attention {
 public:
  virtual ~Attention() = default;
  // Positions of the past that training remembers.
  virtual std::int64_t memory_positions() const { return 0; }
  // h_BSD: normed memory and block, of which the last `asking` positions ask. Every key is seen
  // from every later position, in an encoder from every one.
  virtual Tensor forward(const Tensor& h_BSD, std::int64_t asking,
                         const ForwardState& state) const = 0;
  // h_BTD: normed new positions; what they see of the past is in the state's cache.
  virtual Tensor forward(const Tensor& h_BTD, const ForwardState& state) const = 0;
  virtual void visit(const std::string& name, ParameterVisitor& visitor) = 0;
};

std::unique_ptr<Attention> make_attention(const checkpoint::AttentionConfig& config,
                                          const checkpoint::NormsConfig& norms,
                                          const LayerPlace& place);

class SelfAttention final : public Attention {
 public:
  SelfAttention(const checkpoint::AttentionConfig& config, const checkpoint::NormsConfig& norms,
                const LayerPlace& place);
  std::int64_t memory_positions() const override;
  Tensor forward(const Tensor& h_BSD, std::int64_t asking,
                 const ForwardState& state) const override;
  Tensor forward(const Tensor& h_BTD, const ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  // Against the first `keys` keys; `r_DHC` is undefined for plain attention.
  Tensor attend(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI, std::int64_t keys,
                const Tensor& r_DHC, const kernels::AttentionSight& sight,
                const ForwardState& state) const;
  // The same of positions behind those of a cache, whose keys join it.
  Tensor attend(const Tensor& q_BTI, const Tensor& k_BTI, const Tensor& v_BTI, Cache& cache,
                const ForwardState& state) const;
  // Queries and keys before they are turned by their positions.
  Tensor queries(const Tensor& h_BTD, const Pass& pass) const;
  Tensor keys(const Tensor& h_BTD, const Pass& pass) const;
  Tensor values(const Tensor& h_BTD, const Pass& pass) const;
  Tensor normed(Tensor x_BTI, std::int64_t heads, const std::optional<Norm>& norm,
                const Pass& pass) const;
  Tensor turned(const Tensor& x_BTI, std::int64_t heads, std::int64_t first,
                const Pass& pass) const;
  Tensor relative_positions(std::int64_t distances, const Pass& pass) const;  // [D, H, C]

  const checkpoint::AttentionConfig config_;
  const LayerPlace place_;
  const std::int64_t heads_, key_heads_, width_;
  const checkpoint::TransformerXl* const xl_;  // into config_; null: another kind
  const checkpoint::Rotary* const rotary_;     // the same
  const checkpoint::Bucketed* const bucketed_;
  std::shared_ptr<const RotaryTable> turns_;  // with rotary_
  std::optional<Norm> q_norm_, k_norm_;
  Linear q_, k_, v_, position_, out_;
  Tensor content_bias_HC_, position_bias_HC_, scale_, sink_H_;
};

// pe(p)_{2m} = sin(p t_m), pe(p)_{2m+1} = cos(p t_m), t_m = 10000^(-2m/d), for p = -(D-1), ..., -1,
// 0: [D, d].
Tensor position_table(std::int64_t distances, std::int64_t dim);

}  // namespace mote::model
