#include "model/banks/matrices.h"

#include "model/layers/sites.h"
#include "model/ops/dropout.h"
#include "model/ops/experts.h"

namespace mote::model {

// Plain float32 matrices of whole rank, with nothing between them, that nobody watches: both products in one go, forward and backward. With
// gradients only where both are trained, since backward makes both of theirs.
bool MatrixBank::fused(const Pass& pass) const {
  const auto plain = [](const Linear& linear) {
    const Tensor stored = linear.weight()->stored();
    return stored.defined() && stored.scalar_type() == torch::kFloat32;
  };
  if (config_.key_rank > 0 || (pass.train && config_.hidden_dropout > 0)) return false;
  if (up_.watched(pass) || down_.watched(pass) || !plain(up_) || !plain(down_)) return false;
  return !torch::GradMode::is_enabled() ||
         (up_.weight()->leaf().defined() && down_.weight()->leaf().defined());
}

Tensor MatrixBank::forward(const Tensor& x_ND, const ops::Assignment& assignment,
                           const Pass& pass) const {
  const ops::SortedRoutes routes = ops::sort_routes(assignment, pass);
  if (fused(pass))
    return ops::experts(x_ND, up_.weight()->stored(), down_.weight()->stored(), assignment.gate_R,
                        routes, pass);
  const Tensor u_RG =
      ops::dropout(up_.forward(keyed(x_ND, pass), {routes, false}, pass, kernels::Activation::relu),
                   config_.hidden_dropout, site(place_.index, Site::feed_forward_hidden), pass);
  const Tensor p_RD = down_.forward(u_RG, {routes, true}, pass);
  return ops::combine(p_RD, assignment.gate_R, routes, pass);
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
  up_.visit(stack(".up", width, key_dim(), key_dim()), visitor);
  std::int64_t fan_in = width;
  if (config_.init.down_fan_in == checkpoint::FanIn::all) fan_in *= experts;
  if (config_.init.down_fan_in == checkpoint::FanIn::active) fan_in *= per_token;
  down_.visit(stack(".down", place_.dim, width, fan_in), visitor);
}

}  // namespace mote::model
