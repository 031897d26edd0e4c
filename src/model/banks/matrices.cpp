#include "model/banks/matrices.h"

#include "model/ops/experts.h"

namespace mote::model {

// Plain float32 matrices that nobody watches: both products in one go, forward and backward. With
// gradients only where both are trained, since backward makes both of theirs.
bool MatrixBank::fused(const Pass& pass) const {
  const auto plain = [](const Linear& linear) {
    const Tensor stored = linear.weight()->stored();
    return stored.defined() && stored.scalar_type() == torch::kFloat32;
  };
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
  const Tensor u_RG = up_.forward(x_ND, {routes, false}, pass, kernels::Activation::relu);
  const Tensor p_RD = down_.forward(u_RG, {routes, true}, pass);
  return ops::combine(p_RD, assignment.gate_R, routes, pass);
}

void MatrixBank::visit(const std::string& name, ParameterVisitor& visitor) {
  const auto stack = [&](const char* part, std::int64_t out, std::int64_t in, std::int64_t fan_in) {
    Parameter p =
        matrix(name + part, {experts_, out, in}, {Init::Kind::normal, place_.initial_std(fan_in)});
    p.active = static_cast<double>(per_token_) / static_cast<double>(experts_);
    return p;
  };
  up_.visit(stack(".up", width_, place_.dim, place_.dim), visitor);
  // The fan-in of the second product is the whole width E * G: all experts together are one layer.
  down_.visit(stack(".down", place_.dim, width_, experts_ * width_), visitor);
}

}  // namespace mote::model
