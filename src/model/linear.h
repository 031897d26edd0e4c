// What every layer multiplies with: a weight in use, with its bias and its name.
//
//   y = act(W x + b), or of a stack y_r = act(W_e x_r)
// An observer of the pass sees every input, under the name of the weight.
#pragma once

#include <string>

#include "model/observer.h"
#include "model/ops/product.h"
#include "model/parameters.h"

namespace mote::model {

class Linear {
 public:
  Tensor forward(const Tensor& x, const Pass& pass,
                 kernels::Activation activation = kernels::Activation::none) const {
    if (watched(pass)) pass.observer->saw(name_, x, {});
    return ops::product(x, weight_, bias_, pass, activation);
  }
  // A stack.
  Tensor forward(const Tensor& x, const ops::StackRows& rows, const Pass& pass,
                 kernels::Activation activation = kernels::Activation::none) const {
    if (watched(pass)) pass.observer->saw(name_, x, rows);
    return ops::product(x, weight_, rows, pass, activation);
  }

  bool watched(const Pass& pass) const { return pass.observer && pass.observer->wants(name_); }

  // Shows the weight, under its full name, and the bias.
  void visit(const Parameter& weight, ParameterVisitor& visitor) {
    name_ = weight.name;
    visitor.matrix(weight, weight_);
  }
  void visit_bias(const Parameter& bias, ParameterVisitor& visitor) { visitor.tensor(bias, bias_); }

  const WeightPtr& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  // The weight of another, as a tied output layer has that of the embedding.
  void share(const WeightPtr& weight, std::string name) {
    weight_ = weight;
    name_ = std::move(name);
  }

 private:
  std::string name_;
  WeightPtr weight_;
  Tensor bias_;
};

// The parameter of a matrix.
inline Parameter matrix(std::string name, std::vector<std::int64_t> shape, const Init& init) {
  return {std::move(name), std::move(shape), init, Role::matrix};
}

}  // namespace mote::model
