#include "bench/layer.h"

namespace mote::bench {
namespace {

class Filler final : public model::ParameterVisitor {
 public:
  Filler(torch::ScalarType tables, torch::ScalarType matrices)
      : tables_(tables), matrices_(matrices) {}
  model::Trainable parameters;
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    weight =
        model::make_dense_weight(matrices_ == torch::kFloat32 ? leaf(p) : values(p, matrices_));
  }
  void tensor(const model::Parameter& p, Tensor& value) override { value = leaf(p); }
  void table(const model::Parameter& p, model::RowTablePtr& table) override {
    table = std::make_shared<model::RowTable>(
        p.name, model::table_memory(p.shape, tables_).uniform_(-0.02, 0.02));
    parameters.tables.push_back(table);
  }

 private:
  static Tensor values(const model::Parameter& p, torch::ScalarType type) {
    return model::table_memory(p.shape, type).copy_(0.02 * torch::randn(p.shape));
  }
  Tensor leaf(const model::Parameter& p) {
    const Tensor value = values(p, torch::kFloat32).requires_grad_(p.trainable);
    if (p.trainable) parameters.tensors.emplace_back(p.name, value);
    return value;
  }
  const torch::ScalarType tables_, matrices_;
};

}  // namespace

Layer::Layer(const checkpoint::FeedForwardConfig& config, std::int64_t dim,
             torch::ScalarType tables, torch::ScalarType matrices) {
  model::LayerConfig layer;
  layer.feed_forward = config;
  layer_ = model::make_feed_forward(layer, {0, 1, dim, 1});
  Filler filler(tables, matrices);
  layer_->visit("", filler);
  parameters_ = std::move(filler.parameters);
}

Tensor Layer::forward(const Tensor& x_ND, const model::Pass& pass) const {
  model::ForwardState state(pass);
  return layer_->forward(x_ND, state);
}

void Layer::forward_and_backward(const Tensor& x_ND, const model::Pass& pass) const {
  const Tensor x = x_ND.detach().requires_grad_(), y = forward(x, pass);
  y.backward(y.detach());
}

void Layer::forget_gradients() const {
  for (auto [name, value] : parameters_.tensors) value.mutable_grad() = Tensor();
  for (const model::RowTablePtr& table : parameters_.tables) table->gradients().clear();
}

}  // namespace mote::bench
