#include "model/banks/matrices.h"

#include "model/layers/sites.h"
#include "model/layers/unit.h"
#include "model/ops/dropout.h"
#include "model/ops/experts.h"

namespace mote::model {
namespace {

using checkpoint::NeuronActivation;

kernels::Unit unit_of(const checkpoint::Mixture& config) {
  kernels::Unit unit = model::unit_of(config.activation);
  unit.alpha = static_cast<float>(config.unit.alpha);
  unit.up_offset = static_cast<float>(config.unit.up_offset);
  if (config.unit.limit > 0) unit.limit = static_cast<float>(config.unit.limit);
  return unit;
}

// Sorted rows of a product, each with the bias of its expert.
Tensor with_bias(const Linear& linear, const Tensor& x, const ops::StackRows& rows,
                 const Pass& pass) {
  const Tensor y_RO = linear.forward(x, rows, pass);
  if (!linear.bias().defined()) return y_RO;
  const Tensor rows_E =
      torch::diff(rows.routes->ends_E, 1, 0, torch::zeros({1}, torch::kInt32)).to(torch::kInt64);
  return y_RO + torch::repeat_interleave(linear.bias(), rows_E, 0);
}

}  // namespace

// Matrices of whole rank that lie in memory, with nothing between them, that nobody watches: all
// products in one go. With gradients only of relu's units of two matrices that are both trained, since
// backward makes both of theirs.
bool MatrixBank::fused(const Pass& pass) const {
  if (config_.bias || config_.key_rank > 0 || (pass.train && config_.hidden_dropout > 0))
    return false;
  for (const Linear* linear : {&gate_, &up_, &down_}) {
    if (linear == &gate_ && !config_.gated) continue;
    if (linear->watched(pass) || linear->weight()->stack().experts == 0) return false;
  }
  if (config_.gated && gate_.weight()->stack().type != up_.weight()->stack().type) return false;
  return !torch::GradMode::is_enabled() ||
         (!config_.gated && config_.activation == NeuronActivation::relu &&
          up_.weight()->leaf().defined() && down_.weight()->leaf().defined());
}

Tensor MatrixBank::forward(const Tensor& x_ND, const ops::Assignment& assignment,
                           const Pass& pass) const {
  const ops::SortedRoutes routes = ops::sort_routes(assignment, pass);
  if (fused(pass))
    return ops::experts(x_ND,
                        {config_.gated ? gate_.weight().get() : nullptr, *up_.weight(),
                         *down_.weight(), unit_of(config_)},
                        assignment.gate_R, routes, pass);
  const Tensor h_RG =
      ops::dropout(hidden(keyed(x_ND, pass), {routes, false}, pass), config_.hidden_dropout,
                   site(place_.index, Site::feed_forward_hidden), pass);
  const Tensor p_RD = with_bias(down_, h_RG, {routes, true}, pass);
  return ops::combine(p_RD, assignment.gate_R, routes, pass);
}

Tensor MatrixBank::hidden(const Tensor& x_ND, const ops::StackRows& rows, const Pass& pass) const {
  if (config_.gated) {
    const Tensor gate_RG = with_bias(gate_, x_ND, rows, pass);
    return ops::gated(gate_RG, with_bias(up_, x_ND, rows, pass), unit_of(config_), pass);
  }
  if (config_.activation == NeuronActivation::relu && !config_.bias)
    return up_.forward(x_ND, rows, pass, kernels::Activation::relu);
  return ops::gated(with_bias(up_, x_ND, rows, pass), Tensor(), unit_of(config_), pass);
}

Tensor MatrixBank::keyed(const Tensor& x_ND, const Pass& pass) const {
  return config_.key_rank > 0 ? basis_.forward(x_ND, pass) : x_ND;
}

void MatrixBank::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t experts = config_.experts, width = config_.expert_width,
                     per_token = config_.router.experts_per_token;
  const auto stack = [&](const char* part, std::int64_t out, std::int64_t in, std::int64_t fan_in) {
    const double std = std::sqrt(config_.init.scale) * place_.initial_std(fan_in);
    Parameter p = matrix(name + part, {experts, out, in}, {Init::Kind::normal, std});
    p.active = static_cast<double>(per_token) / static_cast<double>(experts);
    return p;
  };
  // D x has variance 1 where x has.
  if (config_.key_rank > 0)
    basis_.visit(matrix(name + ".basis.weight", {config_.key_rank, place_.dim},
                        {Init::Kind::normal, 1 / std::sqrt(static_cast<double>(place_.dim))}),
                 visitor);
  const auto visit_bias = [&](Linear& linear, const char* part, std::int64_t out) {
    if (config_.bias) linear.visit_bias({name + part + ".bias", {experts, out}}, visitor);
  };
  if (config_.gated) {
    gate_.visit(stack(".gate", width, place_.dim, place_.dim), visitor);
    visit_bias(gate_, ".gate", width);
  }
  up_.visit(stack(".up", width, key_dim(), key_dim()), visitor);
  visit_bias(up_, ".up", width);
  std::int64_t fan_in = width;
  if (config_.init.down_fan_in == checkpoint::FanIn::all) fan_in *= experts;
  if (config_.init.down_fan_in == checkpoint::FanIn::active) fan_in *= per_token;
  down_.visit(stack(".down", place_.dim, width, fan_in), visitor);
  visit_bias(down_, ".down", place_.dim);
}

}  // namespace mote::model
