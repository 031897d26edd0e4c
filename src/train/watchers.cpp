#include "train/watchers.h"

namespace mote::train {

void NonfiniteSearch::left(const std::string& name, const Tensor& x_BTD) {
  if (found_.empty() && !x_BTD.isfinite().all().item<bool>()) found_ = name;
}

}  // namespace mote::train
