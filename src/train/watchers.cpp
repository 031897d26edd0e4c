#include "train/watchers.h"

#include <algorithm>
#include <cmath>

namespace mote::train {

void UsagePerplexity::routed(const std::string&, const model::ops::Assignment& assignment) {
  const Tensor& ends_E = assignment.routes->ends_E;
  const auto* ends = ends_E.const_data_ptr<std::int32_t>();
  const auto rows = static_cast<double>(assignment.routes->rows());
  double entropy = 0;
  for (std::int64_t e = 0; e < ends_E.size(0); ++e) {
    const double share = (ends[e] - (e == 0 ? 0 : ends[e - 1])) / rows;
    if (share > 0) entropy -= share * std::log(share);
  }
  const double perplexity = std::exp(entropy) / static_cast<double>(ends_E.size(0));
  least_ = std::min(least_.value_or(1), perplexity);
}

void NonfiniteSearch::left(const std::string& name, const Tensor& x_BTD) {
  if (found_.empty() && !x_BTD.isfinite().all().item<bool>()) found_ = name;
}

}  // namespace mote::train
