#include "model/layers/dense_feed_forward.h"

#include <cmath>

#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

FeedForwardResult DenseFeedForward::forward(const TokenBatch& batch) const {
  const Tensor hidden = torch::relu(up_->multiply(batch.x_ND, nullptr, up_bias_, batch.pass));
  const Tensor kept =
      ops::dropout(hidden, config_.dropout, site(layer_, Site::feed_forward_hidden), batch.pass);
  return {.y_ND = down_->multiply(kept, nullptr, down_bias_, batch.pass)};
}

void DenseFeedForward::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t d = config_.dim, f = config_.feed_forward.width;
  const auto std_of = [&](std::int64_t fan_in) {
    return Init{Init::Kind::exact_normal,
                std::sqrt(2.0 / static_cast<double>(config_.layers * fan_in))};
  };
  visitor.matrix(name + ".up.weight", up_, {1, f, d}, std_of(d));
  visitor.tensor(name + ".up.bias", up_bias_, {f}, {});
  visitor.matrix(name + ".down.weight", down_, {1, d, f}, std_of(f));
  visitor.tensor(name + ".down.bias", down_bias_, {d}, {});
}

}  // namespace mote::model
