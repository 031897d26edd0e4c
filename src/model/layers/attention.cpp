#include "model/layers/attention.h"

#include <algorithm>
#include <cmath>

#include "model/layers/latent_attention.h"
#include "model/ops/attention.h"

namespace mote::model {

Tensor position_table(std::int64_t distances, std::int64_t dim) {
  const Tensor m = torch::arange(0, dim, 2, torch::kFloat64);
  const Tensor rate = torch::exp(m * (-std::log(10000.0) / static_cast<double>(dim)));
  const Tensor p = torch::arange(-(distances - 1), 1, torch::kFloat64);
  const Tensor angle = p.unsqueeze(1) * rate.unsqueeze(0);
  return torch::stack({angle.sin(), angle.cos()}, 2).reshape({distances, dim}).to(torch::kFloat32);
}

std::unique_ptr<Attention> make_attention(const checkpoint::AttentionConfig& config,
                                          const checkpoint::NormsConfig& norms,
                                          const LayerPlace& place) {
  if (const auto* latent = config.get_if<checkpoint::Latent>())
    return std::make_unique<LatentAttention>(*latent, place);
  return std::make_unique<SelfAttention>(config, norms, place);
}

SelfAttention::SelfAttention(const checkpoint::AttentionConfig& config,
                             const checkpoint::NormsConfig& norms, const LayerPlace& place)
    : config_(config),
      place_(place),
      heads_(checkpoint::heads_of(config)),
      key_heads_(checkpoint::key_heads_of(config)),
      width_(checkpoint::head_dim_of(config)),
      xl_(config_.get_if<checkpoint::TransformerXl>()),
      rotary_(config_.get_if<checkpoint::Rotary>()),
      bucketed_(config_.get_if<checkpoint::Bucketed>()) {
  const double usual = bucketed_ ? 1 : 1 / std::sqrt(static_cast<double>(width_));
  if (!xl_)
    scale_ =
        torch::full({1}, rotary_ && rotary_->scale > 0 ? rotary_->scale : usual, torch::kFloat32);
  if (!rotary_) return;
  turns_ = rotary_table(rotary_->rotary, width_, place);
  if (rotary_->head_norm == checkpoint::HeadNorm::none) return;
  const bool together = rotary_->head_norm == checkpoint::HeadNorm::all;
  q_norm_.emplace(norms, together ? heads_ * width_ : width_);
  k_norm_.emplace(norms, together ? key_heads_ * width_ : width_);
}

std::int64_t SelfAttention::memory_positions() const {
  return xl_ ? xl_->memory_blocks * place_.context : 0;
}

void SelfAttention::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t d = place_.dim, inner = heads_ * width_, key_inner = key_heads_ * width_;
  const auto init = [&](std::int64_t fan_in) {
    return Init{Init::Kind::exact_normal, place_.initial_std(fan_in)};
  };
  q_.visit(matrix(name + ".q.weight", {inner, d}, init(d)), visitor);
  // Keys and values start as the rows that one matrix `kv` had for them, head by head.
  const auto key_or_value = [&](std::int64_t part) {
    Init from = init(d);
    from.of = name + ".kv.weight", from.group = width_, from.part = part, from.parts = 2;
    return from;
  };
  k_.visit(matrix(name + ".k.weight", {key_inner, d}, key_or_value(0)), visitor);
  v_.visit(matrix(name + ".v.weight", {key_inner, d}, key_or_value(1)), visitor);
  out_.visit(matrix(name + ".out.weight", {d, inner}, init(inner)), visitor);
  const auto* causal = config_.get_if<checkpoint::Causal>();
  if ((causal && causal->bias) || (rotary_ && rotary_->bias)) {
    q_.visit_bias({name + ".q.bias", {inner}}, visitor);
    k_.visit_bias({name + ".k.bias", {key_inner}}, visitor);
    v_.visit_bias({name + ".v.bias", {key_inner}}, visitor);
  }
  if ((causal && causal->bias) || (rotary_ && rotary_->output_bias))
    out_.visit_bias({name + ".out.bias", {d}}, visitor);
  if (q_norm_) {
    q_norm_->visit(name + ".q_norm", visitor);
    k_norm_->visit(name + ".k_norm", visitor);
  }
  if (rotary_ && rotary_->sinks) visitor.tensor({name + ".sinks", {heads_}}, sink_H_);
  if (xl_) {
    position_.visit(matrix(name + ".position.weight", {inner, d}, init(d)), visitor);
    visitor.tensor({name + ".content_bias", {heads_, width_}}, content_bias_HC_);
    visitor.tensor({name + ".position_bias", {heads_, width_}}, position_bias_HC_);
    visitor.tensor(
        {name + ".scale", {1}, {Init::Kind::constant, 1 / std::sqrt(static_cast<double>(width_))}},
        scale_);
  }
}

Tensor SelfAttention::relative_positions(std::int64_t distances, const Pass& pass) const {
  if (!xl_) return {};
  return position_.forward(position_table(distances, place_.dim), pass)
      .view({distances, heads_, width_});
}

Tensor SelfAttention::normed(Tensor x_BTI, std::int64_t heads, const std::optional<Norm>& norm,
                             const Pass& pass) const {
  if (!rotary_) return x_BTI;
  if (norm && rotary_->head_norm == checkpoint::HeadNorm::head)
    x_BTI = norm->forward(x_BTI.reshape({x_BTI.size(0), x_BTI.size(1), heads, width_}), pass)
                .view(x_BTI.sizes());
  else if (norm)
    x_BTI = norm->forward(x_BTI, pass);
  return rotary_->clip > 0 ? x_BTI.clamp(-rotary_->clip, rotary_->clip) : x_BTI;
}

Tensor SelfAttention::turned(const Tensor& x_BTI, std::int64_t heads, std::int64_t first,
                             const Pass& pass) const {
  if (!rotary_) return x_BTI;
  return ops::rotary(x_BTI, heads, first, turns_->up_to(first + x_BTI.size(1)), turns_->pairs(),
                     pass);
}

Tensor SelfAttention::queries(const Tensor& h_BTD, const Pass& pass) const {
  return normed(q_.forward(h_BTD, pass), heads_, q_norm_, pass);
}

Tensor SelfAttention::keys(const Tensor& h_BTD, const Pass& pass) const {
  return normed(k_.forward(h_BTD, pass), key_heads_, k_norm_, pass);
}

Tensor SelfAttention::values(const Tensor& h_BTD, const Pass& pass) const {
  const Tensor v_BTI = v_.forward(h_BTD, pass);
  return rotary_ && rotary_->clip > 0 ? v_BTI.clamp(-rotary_->clip, rotary_->clip) : v_BTI;
}

Tensor SelfAttention::attend(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI,
                             std::int64_t keys, const Tensor& r_DHC,
                             const kernels::AttentionSight& sight,
                             const ForwardState& state) const {
  ops::AttentionTerms terms;
  terms.r_DHC = r_DHC;
  terms.u_HC = content_bias_HC_;
  terms.w_HC = position_bias_HC_;
  terms.sink_H = sink_H_;
  if (bucketed_) {
    terms.bias_HD = state.position_bias_HD;
    terms.bias_farthest = bucketed_->max_distance;
  }
  if (place_.encoder) terms.lengths_B = state.lengths_B;
  return ops::attention(turned(q_BTI, heads_, sight.first_query, state.pass), k_BSI, v_BSI,
                        {heads_, key_heads_, keys}, terms, scale_, sight, state.pass);
}

Tensor SelfAttention::forward(const Tensor& h_BSD, std::int64_t asking,
                              const ForwardState& state) const {
  const Pass& pass = state.pass;
  const std::int64_t count = h_BSD.size(1);
  kernels::AttentionSight sight;
  sight.first_query = count - asking;
  sight.ahead = place_.encoder;
  if (rotary_) sight.window = rotary_->window;
  const Tensor k_BSI = turned(keys(h_BSD, pass), key_heads_, 0, pass), v_BSI = values(h_BSD, pass),
               r_DHC = relative_positions(count, pass),
               q_BTI = queries(h_BSD.narrow(1, count - asking, asking), pass);
  return out_.forward(attend(q_BTI, k_BSI, v_BSI, count, r_DHC, sight, state), pass);
}

Tensor SelfAttention::attend(const Tensor& q_BTI, const Tensor& k_BTI, const Tensor& v_BTI,
                             Cache& cache, const ForwardState& state) const {
  const Pass& pass = state.pass;
  Cache::Layer& layer = cache.layer(place_.index);
  const Cache::Seen seen =
      cache.append(place_.index, turned(k_BTI, key_heads_, cache.position(), pass), v_BTI);
  if (xl_) {
    // As far as there are positions: a sight may be wider than any text.
    const std::int64_t sight = layer.sight.memory + layer.sight.block;
    const std::int64_t needed = std::min(sight, cache.position() + q_BTI.size(1) - seen.first);
    const std::int64_t made = layer.relative_DHC.defined() ? layer.relative_DHC.size(0) : 0;
    if (needed > made) {
      Pass kept = pass;  // it outlives the pass and its buffers
      kept.buffers = nullptr;
      layer.relative_DHC = relative_positions(std::min(sight, std::max(needed, 2 * made)), kept);
    }
  }
  kernels::AttentionSight sight{cache.position(), seen.first, layer.sight.block,
                                layer.sight.memory};
  if (rotary_) sight.window = rotary_->window;
  return attend(q_BTI, seen.k_BCI, seen.v_BCI, seen.count, layer.relative_DHC, sight, state);
}

Tensor SelfAttention::forward(const Tensor& h_BTD, const ForwardState& state) const {
  const Pass& pass = state.pass;
  const Tensor q_BTI = queries(h_BTD, pass), k_BTI = keys(h_BTD, pass), v_BTI = values(h_BTD, pass);
  const auto attended = [&](Cache& cache, std::int64_t first, std::int64_t count) {
    return attend(of_sequences(q_BTI, first, count), of_sequences(k_BTI, first, count),
                  of_sequences(v_BTI, first, count), cache, state);
  };
  return out_.forward(for_each_cache(state, h_BTD.size(0), attended), pass);
}

}  // namespace mote::model
