// Who watches a pass for where numbers stop being finite.
#pragma once

#include <string>

#include "model/observer.h"

namespace mote::train {

// The first block whose output is not finite; "" while there is none.
class NonfiniteSearch final : public model::Observer {
 public:
  void left(const std::string& name, const Tensor& x_BTD) override;
  const std::string& found() const { return found_; }

 private:
  std::string found_;
};

}  // namespace mote::train
