// One feed-forward layer with random parameters, forward and backward.
#pragma once

#include <memory>

#include "model/layers/feed_forward.h"
#include "model/model.h"

namespace mote::bench {

class Layer {
 public:
  // Matrices that are not float32 are frozen.
  Layer(const checkpoint::FeedForwardConfig& config, std::int64_t dim,
        torch::ScalarType tables = torch::kFloat32, torch::ScalarType matrices = torch::kFloat32);

  // `y` has the graph of what backward needs, where gradients are recorded.
  Tensor forward(const Tensor& x_ND, const model::Pass& pass) const;
  // To the input and to all parameters; gradients are kept until forget_gradients().
  void forward_and_backward(const Tensor& x_ND, const model::Pass& pass) const;
  void forget_gradients() const;
  const model::Trainable& parameters() const { return parameters_; }

 private:
  std::unique_ptr<model::FeedForward> layer_;
  model::Trainable parameters_;
};

}  // namespace mote::bench
