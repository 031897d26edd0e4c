// A mixture of experts: a router and a bank.
#pragma once

#include "model/experts/bank.h"

namespace mote::model {

class Mixture final : public FeedForward {
 public:
  Mixture(const ModelConfig& config, std::int64_t layer);
  FeedForwardResult forward(const TokenBatch& batch) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;
  Mixture* mixture() override { return this; }

  const Router& router() const { return *router_; }
  ExpertBank& experts() { return bank_; }

 private:
  std::unique_ptr<Router> router_;
  ExpertBank bank_;
};

}  // namespace mote::model
