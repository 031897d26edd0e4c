// Those who watch a training pass: how evenly experts are used, and where numbers stop being
// finite.
#pragma once

#include <optional>
#include <string>

#include "model/observer.h"

namespace mote::train {

// exp(entropy of the shares of the routed rows that the experts got) / experts: 1 when all are used
// alike, 1 / experts when one gets everything. Of the layer where it is least.
class UsagePerplexity final : public model::Observer {
 public:
  void routed(const std::string& name, const model::ops::Assignment& assignment) override;
  void reset() { least_.reset(); }
  // None: no layer has experts.
  std::optional<double> least() const { return least_; }

 private:
  std::optional<double> least_;
};

// The first block whose output is not finite; "" while there is none.
class NonfiniteSearch final : public model::Observer {
 public:
  void left(const std::string& name, const Tensor& x_BTD) override;
  const std::string& found() const { return found_; }

 private:
  std::string found_;
};

}  // namespace mote::train
