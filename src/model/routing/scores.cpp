#include "model/routing/scores.h"

#include <cassert>

#include "model/routing/router_cell.h"

namespace mote::model {
namespace {

class LinearScorer final : public Scorer {
 public:
  LinearScorer(const checkpoint::LinearScore& config, std::int64_t experts, double init_scale,
               const LayerPlace& place)
      : config_(config), experts_(experts), init_scale_(init_scale), place_(place) {}

  Tensor score(const Tensor& x_ND, const MatrixBank&, const Pass& pass,
               ForwardState&) const override {
    return score_.forward(x_ND, pass);
  }
  void visit(const std::string& name, const MatrixBank&, ParameterVisitor& visitor) override {
    const double std = std::sqrt(init_scale_) * place_.initial_std(place_.dim);
    score_.visit(
        matrix(name + ".weight", {experts_, place_.dim},
               {config_.equal_rows ? Init::Kind::row_normalized : Init::Kind::normal, std}),
        visitor);
    if (config_.bias) score_.visit_bias({name + ".bias", {experts_}}, visitor);
  }

 private:
  const checkpoint::LinearScore config_;
  const std::int64_t experts_;
  const double init_scale_;
  const LayerPlace place_;
  Linear score_;
};

class RecurrentScorer final : public Scorer {
 public:
  RecurrentScorer(const checkpoint::RecurrentScore& config, std::int64_t experts,
                  const LayerPlace& place)
      : state_dim_(config.state_dim), experts_(experts), place_(place) {
    assert(place_.router_cell && place_.router_cell->state_dim() == state_dim_);
  }

  Tensor score(const Tensor& x_ND, const MatrixBank&, const Pass& pass,
               ForwardState& state) const override {
    state.router_state = place_.router_cell->next(project_.forward(x_ND, pass), state.router_state);
    return score_.forward(state.router_state, pass);
  }
  void visit(const std::string& name, const MatrixBank&, ParameterVisitor& visitor) override {
    const Init init{Init::Kind::normal, 0.02};
    project_.visit(matrix(name + ".project.weight", {state_dim_, place_.dim}, init), visitor);
    score_.visit(matrix(name + ".weight", {experts_, state_dim_}, init), visitor);
  }

 private:
  const std::int64_t state_dim_, experts_;
  const LayerPlace place_;
  Linear project_, score_;
};

// The means are made anew from matrices that are trained. Those of others are read from the file,
// where the walk that saves has left them: packed matrices would not give the same.
class AvgKScorer final : public Scorer {
 public:
  explicit AvgKScorer(std::int64_t experts) : experts_(experts) {}

  Tensor score(const Tensor& x_ND, const MatrixBank& bank, const Pass& pass,
               ForwardState&) const override {
    const torch::NoGradGuard no_grad;
    const Tensor trained = means_of_trained(bank);
    return ops::product(bank.keyed(x_ND, pass),
                        make_dense_weight(trained.defined() ? trained : means_EC_), Tensor(), pass);
  }
  void visit(const std::string& name, const MatrixBank& bank, ParameterVisitor& visitor) override {
    if (const Tensor trained = means_of_trained(bank); trained.defined()) means_EC_ = trained;
    visitor.tensor({name + ".weight", {experts_, bank.key_dim()}, {}, Role::buffer, false},
                   means_EC_);
  }

 private:
  static Tensor means_of_trained(const MatrixBank& bank) {
    const Tensor up_EGC = bank.up() ? bank.up()->leaf() : Tensor();
    return up_EGC.defined() ? up_EGC.detach().mean(1) : Tensor();
  }

  const std::int64_t experts_;
  Tensor means_EC_;
};

}  // namespace

std::unique_ptr<Scorer> make_scorer(const checkpoint::ScoreConfig& config, std::int64_t experts,
                                    double init_scale, const LayerPlace& place) {
  if (const auto* linear = config.get_if<checkpoint::LinearScore>())
    return std::make_unique<LinearScorer>(*linear, experts, init_scale, place);
  if (const auto* recurrent = config.get_if<checkpoint::RecurrentScore>())
    return std::make_unique<RecurrentScorer>(*recurrent, experts, place);
  if (config.get_if<checkpoint::AvgKScore>()) return std::make_unique<AvgKScorer>(experts);
  return nullptr;
}

}  // namespace mote::model
