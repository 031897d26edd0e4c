#include "model/layers/attention.h"

#include <cmath>

#include "model/ops/attention.h"

namespace mote::model {

Tensor position_table(std::int64_t distances, std::int64_t dim) {
  const Tensor m = torch::arange(0, dim, 2, torch::kFloat64);
  const Tensor rate = torch::exp(m * (-std::log(10000.0) / static_cast<double>(dim)));
  const Tensor p = torch::arange(-(distances - 1), 1, torch::kFloat64);
  const Tensor angle = p.unsqueeze(1) * rate.unsqueeze(0);
  return torch::stack({angle.sin(), angle.cos()}, 2).reshape({distances, dim}).to(torch::kFloat32);
}

SelfAttention::SelfAttention(const ModelConfig& config, std::int64_t layer)
    : config_(config), layer_(layer) {}

void SelfAttention::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t d = config_.dim, h = config_.attention.heads, c = config_.attention.head_dim,
                     inner = h * c;
  const auto std_of = [&](std::int64_t fan_in) {
    return Init{Init::Kind::exact_normal,
                std::sqrt(2.0 / static_cast<double>(config_.layers * fan_in))};
  };
  visitor.matrix(name + ".q.weight", q_, {1, inner, d}, std_of(d));
  visitor.matrix(name + ".kv.weight", kv_, {1, 2 * inner, d}, std_of(d));
  visitor.matrix(name + ".out.weight", out_, {1, d, inner}, std_of(inner));
  if (config_.attention.bias) {
    visitor.tensor(name + ".q.bias", q_bias_, {inner}, {});
    visitor.tensor(name + ".kv.bias", kv_bias_, {2 * inner}, {});
    visitor.tensor(name + ".out.bias", out_bias_, {d}, {});
  }
  if (config_.attention.kind == AttentionKind::transformer_xl) {
    visitor.matrix(name + ".position.weight", position_, {1, inner, d}, std_of(d));
    visitor.tensor(name + ".content_bias", content_bias_HC_, {h, c}, {});
    visitor.tensor(name + ".position_bias", position_bias_HC_, {h, c}, {});
    visitor.tensor(name + ".scale", scale_, {1},
                   {Init::Kind::constant, 1 / std::sqrt(static_cast<double>(c))});
  }
}

Tensor SelfAttention::project_keys(const Tensor& h_BSD, const Pass& pass) const {
  return kv_->multiply(h_BSD, nullptr, kv_bias_, pass)
      .view({h_BSD.size(0), h_BSD.size(1), config_.attention.heads, 2, config_.attention.head_dim});
}

Tensor SelfAttention::relative_positions(std::int64_t distances, const Pass& pass) const {
  if (config_.attention.kind != AttentionKind::transformer_xl) return {};
  return position_->multiply(position_table(distances, config_.dim), nullptr, {}, pass)
      .view({distances, config_.attention.heads, config_.attention.head_dim});
}

Tensor SelfAttention::attend(const Tensor& h_BTD, const Tensor& kv_BSH2C, const Tensor& r_DHC,
                             const kernels::AttentionSight& sight, const Pass& pass) const {
  const std::int64_t batch = h_BTD.size(0), queries = h_BTD.size(1),
                     heads = config_.attention.heads, width = config_.attention.head_dim;
  const Tensor q_BTHC =
      q_->multiply(h_BTD, nullptr, q_bias_, pass).view({batch, queries, heads, width});
  const Tensor c = scale_.defined() ? scale_
                                    : torch::full({1}, 1 / std::sqrt(static_cast<double>(width)),
                                                  torch::kFloat32);
  const Tensor o_BTHC =
      ops::attention(q_BTHC, kv_BSH2C.select(3, 0), kv_BSH2C.select(3, 1),
                     {r_DHC, content_bias_HC_, position_bias_HC_}, c, sight, pass);
  return out_->multiply(o_BTHC.view({batch, queries, heads * width}), nullptr, out_bias_, pass);
}

Tensor SelfAttention::forward(const Tensor& h_BSD, std::int64_t queries, const Pass& pass) const {
  const std::int64_t keys = h_BSD.size(1);
  kernels::AttentionSight sight;
  sight.first_query = keys - queries;
  return attend(h_BSD.narrow(1, keys - queries, queries), project_keys(h_BSD, pass),
                relative_positions(keys, pass), sight, pass);
}

Tensor SelfAttention::forward(const Tensor& h_BTD, Cache& cache, const Pass& pass) const {
  const Cache::Seen seen = cache.append(layer_, project_keys(h_BTD, pass));
  Tensor& r_DHC = cache.relative(layer_);
  if (config_.attention.kind == AttentionKind::transformer_xl && !r_DHC.defined())
    r_DHC = relative_positions(cache.memory() + cache.block(), pass);
  return attend(h_BTD, seen.kv_BSH2C, r_DHC,
                {cache.position(), seen.first, cache.block(), cache.memory()}, pass);
}

}  // namespace mote::model
