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

Tensor LatentAttention::queries(const Tensor& h_BTD, const Pass& pass) const {
  return config_.q_rank > 0
             ? q_up_.forward(q_norm_.forward(q_down_.forward(h_BTD, pass), pass), pass)
             : q_.forward(h_BTD, pass);
}

LatentAttention::Latents LatentAttention::latents(const Tensor& h_BTD, const Pass& pass) const {
  const Tensor down_BTI = kv_down_.forward(h_BTD, pass);
  const Tensor latent_BTI = down_BTI.narrow(2, 0, config_.kv_rank).contiguous();
  return {down_BTI.narrow(2, config_.kv_rank, config_.rope_dim).contiguous(),
          kv_up_.forward(kv_norm_.forward(latent_BTI, pass), pass)
              .view({h_BTD.size(0), h_BTD.size(1), config_.heads, plain_dim_ + config_.value_dim})};
}

LatentAttention::KeysAndValues LatentAttention::keys_and_values(const Latents& latents,
                                                                std::int64_t first,
                                                                const Pass& pass) const {
  const Tensor& plain_BTHC = latents.plain_BTHC;
  const std::int64_t streams = plain_BTHC.size(0), tokens = plain_BTHC.size(1);
  const Tensor rope_BTR = turned(latents.rope_BTR, 1, first, pass);
  const Tensor k_BTHC =
      torch::cat({plain_BTHC.narrow(3, 0, plain_dim_),
                  rope_BTR.unsqueeze(2).expand({streams, tokens, config_.heads, config_.rope_dim})},
                 3);
  return {k_BTHC.view({streams, tokens, -1}),
          plain_BTHC.narrow(3, plain_dim_, config_.value_dim).reshape({streams, tokens, -1})};
}

Tensor LatentAttention::attend(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI,
                               std::int64_t keys, const kernels::AttentionSight& sight,
                               const Pass& pass) const {
  const std::int64_t streams = q_BTI.size(0), tokens = q_BTI.size(1), heads = config_.heads;
  const Tensor q_BTHC = q_BTI.view({streams, tokens, heads, config_.head_dim});
  const Tensor rope_BTI = q_BTHC.narrow(3, plain_dim_, config_.rope_dim)
                              .reshape({streams, tokens, heads * config_.rope_dim});
  const Tensor turned_BTHC =
      turned(rope_BTI, heads, sight.first_query, pass).view({streams, tokens, heads, -1});
  return ops::attention(
      torch::cat({q_BTHC.narrow(3, 0, plain_dim_), turned_BTHC}, 3).view({streams, tokens, -1}),
      k_BSI, v_BSI, {heads, heads, keys}, {}, scale_, sight, pass);
}

Tensor LatentAttention::forward(const Tensor& h_BSD, std::int64_t asking,
                                const ForwardState& state) const {
  const Pass& pass = state.pass;
  const std::int64_t count = h_BSD.size(1);
  kernels::AttentionSight sight;
  sight.first_query = count - asking;
  const KeysAndValues seen = keys_and_values(latents(h_BSD, pass), 0, pass);
  const Tensor q_BTI = queries(h_BSD.narrow(1, count - asking, asking), pass);
  return out_.forward(attend(q_BTI, seen.k_BTI, seen.v_BTI, count, sight, pass), pass);
}

Tensor LatentAttention::forward(const Tensor& h_BTD, const ForwardState& state) const {
  const Pass& pass = state.pass;
  const Tensor q_BTI = queries(h_BTD, pass);
  const auto [rope_BTR, plain_BTHC] = latents(h_BTD, pass);
  const auto attended = [&, &rope = rope_BTR, &plain = plain_BTHC](Cache& cache, std::int64_t first,
                                                                   std::int64_t count) {
    const KeysAndValues added =
        keys_and_values({of_sequences(rope, first, count), of_sequences(plain, first, count)},
                        cache.position(), pass);
    const Cache::Seen seen = cache.append(place_.index, added.k_BTI, added.v_BTI);
    kernels::AttentionSight sight;
    sight.first_query = cache.position();
    sight.first_key = seen.first;
    return attend(of_sequences(q_BTI, first, count), seen.k_BCI, seen.v_BCI, seen.count, sight,
                  pass);
  };
  return out_.forward(for_each_cache(state, h_BTD.size(0), attended), pass);
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
