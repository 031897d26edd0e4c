// One who watches a forward pass: calibration, usage of experts, a search for the first number that
// is not finite. Layers report what enters and leaves them by name and know nothing of why.
#pragma once

#include <string>

#include "model/ops/routes.h"
#include "model/torch.h"

namespace mote::model {

class Observer {
 public:
  virtual ~Observer() = default;
  // Whether saw() is wanted for the weight `name`. Fused layers, which never hold these rows, make
  // them then.
  virtual bool wants(const std::string& /*name*/) const { return false; }
  // `x` [..., in] is about to be multiplied with the weight `name`; of a stack, by `rows`.
  virtual void saw(const std::string& /*name*/, const Tensor& /*x*/,
                   const ops::StackRows& /*rows*/) {}
  // A layer of experts, `name`, sends its rows by this assignment.
  virtual void routed(const std::string& /*name*/, const ops::Assignment& /*assignment*/) {}
  // What the attention or the feed-forward layer `name` adds to the residual stream, before dropout
  // and a norm after it.
  virtual void gave(const std::string& /*name*/, const Tensor& /*y*/) {}
  // The residual stream after the block `name`.
  virtual void left(const std::string& /*name*/, const Tensor& /*x_BTD*/) {}
};

}  // namespace mote::model
