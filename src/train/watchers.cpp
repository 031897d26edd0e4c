#include "train/watchers.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace mote::train {

void UsagePerplexity::routed(const std::string&, const model::ops::Assignment& assignment) {
  if (assignment.rows() == 0) return;  // nobody is used, evenly or not
  std::vector<std::int64_t> counts(static_cast<std::size_t>(assignment.num_experts));
  const auto* experts = assignment.expert_R.const_data_ptr<std::int32_t>();
  for (std::int64_t r = 0; r < assignment.rows(); ++r)
    ++counts.at(static_cast<std::size_t>(experts[r]));
  double entropy = 0;
  for (const std::int64_t count : counts) {
    const double share = static_cast<double>(count) / static_cast<double>(assignment.rows());
    if (share > 0) entropy -= share * std::log(share);
  }
  const double perplexity = std::exp(entropy) / static_cast<double>(assignment.num_experts);
  least_ = std::min(least_.value_or(1), perplexity);
}

void NonfiniteSearch::left(const std::string& name, const Tensor& x_BTD) {
  if (found_.empty() && !x_BTD.isfinite().all().item<bool>()) found_ = name;
}

}  // namespace mote::train
