#include "model/layers/latent_attention.h"

#include <cmath>

#include "model/ops/attention.h"

namespace mote::model {
namespace {

checkpoint::NormsConfig rms(double epsilon) {
  return {checkpoint::NormKind::rms, epsilon};
}

}  // namespace

LatentAttention::LatentAttention(const checkpoint::Latent& config, const LayerPlace& place)
    : config_(config),
      place_(place),
      plain_dim_(config.head_dim - config.rope_dim),
      scale_(torch::full(
          {1},
          config.scale > 0 ? config.scale : 1 / std::sqrt(static_cast<double>(config.head_dim)),
          torch::kFloat32)),
      turns_(rotary_table(config.rotary, config.rope_dim, place)),
      q_norm_(rms(config.epsilon), config.q_rank),
      kv_norm_(rms(config.epsilon), config.kv_rank) {}

Tensor LatentAttention::turned(const Tensor& x_BTI, std::int64_t heads, std::int64_t first,
                               const Pass& pass) const {
  return ops::rotary(x_BTI, heads, first, turns_->up_to(first + x_BTI.size(1)), turns_->pairs(),
                     pass);
}

Tensor LatentAttention::queries(const Tensor& h_BTD, std::int64_t first, const Pass& pass) const {
  const std::int64_t streams = h_BTD.size(0), tokens = h_BTD.size(1), heads = config_.heads;
  const Tensor q_BTI =
      config_.q_rank > 0 ? q_up_.forward(q_norm_.forward(q_down_.forward(h_BTD, pass), pass), pass)
                         : q_.forward(h_BTD, pass);
  const Tensor q_BTHC = q_BTI.view({streams, tokens, heads, config_.head_dim});
  const Tensor rope_BTI = q_BTHC.narrow(3, plain_dim_, config_.rope_dim)
                              .reshape({streams, tokens, heads * config_.rope_dim});
  return torch::cat({q_BTHC.narrow(3, 0, plain_dim_),
                     turned(rope_BTI, heads, first, pass).view({streams, tokens, heads, -1})},
                    3)
      .view({streams, tokens, -1});
}

LatentAttention::KeysAndValues LatentAttention::keys_and_values(const Tensor& h_BTD,
                                                                std::int64_t first,
                                                                const Pass& pass) const {
  const std::int64_t streams = h_BTD.size(0), tokens = h_BTD.size(1), heads = config_.heads;
  const Tensor down_BTI = kv_down_.forward(h_BTD, pass);
  const Tensor latent_BTI = down_BTI.narrow(2, 0, config_.kv_rank).contiguous();
  const Tensor rope_BTR =
      turned(down_BTI.narrow(2, config_.kv_rank, config_.rope_dim).contiguous(), 1, first, pass);
  const Tensor both_BTHC = kv_up_.forward(kv_norm_.forward(latent_BTI, pass), pass)
                               .view({streams, tokens, heads, plain_dim_ + config_.value_dim});
  const Tensor k_BTHC =
      torch::cat({both_BTHC.narrow(3, 0, plain_dim_),
                  rope_BTR.unsqueeze(2).expand({streams, tokens, heads, config_.rope_dim})},
                 3);
  return {k_BTHC.view({streams, tokens, -1}),
          both_BTHC.narrow(3, plain_dim_, config_.value_dim).reshape({streams, tokens, -1})};
}

Tensor LatentAttention::attend(const Tensor& h_BTD, const Tensor& k_BSI, const Tensor& v_BSI,
                               std::int64_t keys, const kernels::AttentionSight& sight,
                               const Pass& pass) const {
  const Tensor o_BTI =
      ops::attention(queries(h_BTD, sight.first_query, pass), k_BSI, v_BSI,
                     {config_.heads, config_.heads, keys}, {}, scale_, sight, pass);
  return out_.forward(o_BTI, pass);
}

Tensor LatentAttention::forward(const Tensor& h_BSD, std::int64_t asking,
                                const ForwardState& state) const {
  const Pass& pass = state.pass;
  const std::int64_t count = h_BSD.size(1);
  kernels::AttentionSight sight;
  sight.first_query = count - asking;
  const KeysAndValues seen = keys_and_values(h_BSD, 0, pass);
  return attend(h_BSD.narrow(1, count - asking, asking), seen.k_BTI, seen.v_BTI, count, sight,
                pass);
}

Tensor LatentAttention::forward(const Tensor& h_BTD, const ForwardState& state) const {
  const Pass& pass = state.pass;
  Cache& cache = *state.cache;
  const KeysAndValues added = keys_and_values(h_BTD, cache.position(), pass);
  const Cache::Seen seen = cache.append(place_.index, added.k_BTI, added.v_BTI);
  kernels::AttentionSight sight;
  sight.first_query = cache.position();
  sight.first_key = seen.first;
  return attend(h_BTD, seen.k_BCI, seen.v_BCI, seen.count, sight, pass);
}

void LatentAttention::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t d = place_.dim, inner = config_.heads * config_.head_dim;
  const auto visit_one = [&](Linear& linear, const char* part, std::int64_t out, std::int64_t in,
                             bool bias) {
    linear.visit(matrix(concat(name, part, ".weight"), {out, in},
                        {Init::Kind::exact_normal, place_.initial_std(in)}),
                 visitor);
    if (bias) linear.visit_bias({concat(name, part, ".bias"), {out}}, visitor);
  };
  if (config_.q_rank > 0) {
    visit_one(q_down_, ".q_down", config_.q_rank, d, config_.bias);
    q_norm_.visit(name + ".q_norm", visitor);
    visit_one(q_up_, ".q_up", inner, config_.q_rank, false);
  } else {
    visit_one(q_, ".q", inner, d, false);
  }
  visit_one(kv_down_, ".kv_down", config_.kv_rank + config_.rope_dim, d, config_.bias);
  kv_norm_.visit(name + ".kv_norm", visitor);
  visit_one(kv_up_, ".kv_up", config_.heads * (plain_dim_ + config_.value_dim), config_.kv_rank,
            false);
  visit_one(out_, ".out", d, config_.heads * config_.value_dim, config_.bias);
}

}  // namespace mote::model
