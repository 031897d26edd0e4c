#include "model/routing/product_key_router.h"

#include <ATen/ops/layer_norm.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/softmax.h>
#include <cmath>

#include "model/ops/product_keys.h"

namespace mote::model {
namespace {

constexpr double kEpsilon = 1e-5, kMomentum = 0.1;
constexpr double kShortest = 1e-12;  // query that is divided by its length

}  // namespace

ProductKeyRouter::ProductKeyRouter(const checkpoint::ProductKeyRouter& config, std::int64_t experts,
                                   const LayerPlace& place, bool separate_tables)
    : config_(config),
      linear_(config_.query.get_if<checkpoint::LinearQuery>()),
      experts_(experts),
      keys_(std::llround(std::sqrt(static_cast<double>(experts)))),
      key_dim_(linear_ ? linear_->key_dim : place.dim),
      separate_tables_(separate_tables),
      place_(place) {}

Tensor ProductKeyRouter::batch_norm(const Tensor& q_NF, ForwardState& state) const {
  if (!state.pass.train)
    return (q_NF - running_mean_) * (norm_weight_ * torch::rsqrt(running_var_ + kEpsilon)) +
           norm_bias_;
  const Tensor real =
      state.padding_N.defined() ? q_NF.index({state.padding_N.logical_not()}) : q_NF;
  const auto [normed, mean, inverse] = at::native_batch_norm(
      real, norm_weight_, norm_bias_, {}, {}, /*training=*/true, kMomentum, kEpsilon);
  const auto rows = static_cast<double>(real.size(0));
  state.commits.push_back([this, mean = mean.detach(), inverse = inverse.detach(), rows] {
    const torch::NoGradGuard no_grad;
    const Tensor var = (inverse.pow(-2) - kEpsilon) * (rows / std::max(1.0, rows - 1));
    Tensor(running_mean_).lerp_(mean, kMomentum);
    Tensor(running_var_).lerp_(var, kMomentum);
  });
  if (!state.padding_N.defined()) return normed;
  return torch::zeros_like(q_NF).index_put({state.padding_N.logical_not()}, normed);
}

Tensor ProductKeyRouter::query(const Tensor& x_ND, ForwardState& state) const {
  const std::int64_t tokens = x_ND.size(0), heads = config_.heads;
  if (!linear_) return x_ND.unsqueeze(1).expand({tokens, heads, key_dim_});
  // Scores are float32 whatever the precision of the other products.
  Pass exact = state.pass;
  exact.precision = kernels::Precision::f32;
  Tensor q_NF = query_.forward(x_ND, exact);
  if (linear_->norm == checkpoint::QueryNorm::batch) q_NF = batch_norm(q_NF, state);
  if (linear_->norm == checkpoint::QueryNorm::layer)
    q_NF = at::layer_norm(q_NF.view({tokens, 2 * heads, key_dim_ / 2}), {key_dim_ / 2},
                          norm_weight_, norm_bias_, kEpsilon);
  const Tensor q_NHC = q_NF.reshape({tokens, heads, key_dim_});
  if (linear_->norm != checkpoint::QueryNorm::l2) return q_NHC;
  return q_NHC / q_NHC.norm(2, -1, true).clamp_min(kShortest);
}

Tensor ProductKeyRouter::head_sum(const Tensor& x_ND, ForwardState& state) const {
  const std::int64_t tokens = x_ND.size(0), heads = config_.heads, half = key_dim_ / 2;
  const Tensor q_NHC = query(x_ND, state);
  const auto scores = [&](std::int64_t which) {
    const Tensor q_NF = q_NHC.narrow(-1, which * half, half).reshape({tokens, heads * half});
    const Tensor keys_HnC = keys_S2nC_.select(1, which).expand({heads, keys_, half});
    return q_NF.matmul(keys_HnC.permute({1, 0, 2}).reshape({keys_, heads * half}).t());
  };
  const Tensor sum_Nnn = scores(0).unsqueeze(2) + scores(1).unsqueeze(1);
  return gates(sum_Nnn.reshape({tokens, 1, keys_ * keys_})).view({tokens, experts_});
}

Tensor ProductKeyRouter::gates(const Tensor& found_NHK) const {
  const Tensor score_NHK = config_.temperature == 1 ? found_NHK : found_NHK / config_.temperature;
  switch (config_.gate) {
    case checkpoint::LookupGate::softmax:
      return torch::softmax(score_NHK, -1);
    case checkpoint::LookupGate::softmax_joint:
      return torch::softmax(score_NHK.flatten(1), -1);
    case checkpoint::LookupGate::sigmoid:
      return torch::sigmoid(score_NHK);
    case checkpoint::LookupGate::relu:
      return torch::relu(score_NHK);
  }
  return {};
}

ops::Assignment ProductKeyRouter::route(const Tensor& x_ND, ForwardState& state) const {
  const auto [index_NHK, score_NHK] =
      ops::product_keys(query(x_ND, state), keys_S2nC_, config_.experts_per_head, state.pass);
  Tensor expert_NHK = index_NHK;
  if (separate_tables_)
    expert_NHK = expert_NHK + torch::arange(config_.heads, torch::kInt32).view({-1, 1}) * experts_;
  return {separate_tables_ ? config_.heads * experts_ : experts_,
          ops::equal_rows(x_ND.size(0), config_.heads * config_.experts_per_head, state.pass),
          expert_NHK.to(torch::kInt32).view(-1), gates(score_NHK).reshape(-1)};
}

void ProductKeyRouter::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t features = config_.heads * key_dim_, half = key_dim_ / 2;
  const double bound = 1 / std::sqrt(static_cast<double>(place_.dim));
  if (linear_) {
    query_.visit(
        matrix(name + ".query.weight", {features, place_.dim}, {Init::Kind::uniform, bound}),
        visitor);
    if (linear_->bias)
      query_.visit_bias({name + ".query.bias", {features}, {Init::Kind::uniform, bound}}, visitor);
    const std::int64_t normed = linear_->norm == checkpoint::QueryNorm::layer ? half : features;
    if (linear_->norm == checkpoint::QueryNorm::layer ||
        linear_->norm == checkpoint::QueryNorm::batch) {
      visitor.tensor({name + ".norm.weight", {normed}, {Init::Kind::ones}}, norm_weight_);
      visitor.tensor({name + ".norm.bias", {normed}}, norm_bias_);
    }
    if (linear_->norm == checkpoint::QueryNorm::batch) {
      visitor.tensor({name + ".norm.running_mean", {normed}, {}, Role::buffer, false},
                     running_mean_);
      visitor.tensor(
          {name + ".norm.running_var", {normed}, {Init::Kind::ones}, Role::buffer, false},
          running_var_);
    }
  }
  const Init init = linear_ ? Init{Init::Kind::uniform, 1 / std::sqrt(static_cast<double>(half))}
                            : Init{Init::Kind::normal, place_.initial_std(place_.dim)};
  Parameter keys{name + ".keys", {config_.share_keys ? 1 : config_.heads, 2, keys_, half}, init};
  visitor.tensor(keys, keys_S2nC_);
}

}  // namespace mote::model
