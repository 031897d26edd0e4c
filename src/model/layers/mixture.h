// A mixture of experts: a router and a bank, and an expert that every token uses:
//   y = bank(x) [+ shared(x), or + sigmoid(w . x) shared(x)]
#pragma once

#include <optional>

#include "model/banks/matrices.h"
#include "model/layers/dense_feed_forward.h"
#include "model/routing/router.h"

namespace mote::model {

class Mixture final : public FeedForward {
 public:
  Mixture(const checkpoint::Mixture& config, const LayerPlace& place);
  Tensor forward(const Tensor& x_ND, ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  std::string name_;
  Router router_;
  MatrixBank bank_;
  std::optional<DenseFeedForward> shared_;
  const bool shared_gated_;
  const std::int64_t dim_;
  Linear shared_gate_;
};

}  // namespace mote::model
