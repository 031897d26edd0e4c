// Refitting a stack of matrices to inputs that compression has changed, before it is rounded
// itself.
//
//   W' minimises, per expert, sum |W u - W' v|^2 + damp |W' - W|^2 over its calibration rows,
// where u is what entered W in the original block and v what enters it now:
//   W' = (W C + damp W)(V + damp I)^-1,  C = sum u v^T,  V = sum v v^T,
//   damp = max(damping * mean(diag V), 1e-6).
// An expert whose V is not positive definite after damping keeps its matrix.
#pragma once

#include <map>
#include <string>

#include "compress/calibration.h"

namespace mote::compress {

Tensor refitted(const Tensor& w_EOI, const Moments& original_by_now, const Statistics& now,
                double damping, const model::Pass& pass);

// Watches one pass: holds what enters chosen weights, in sorted order.
class InputRecorder final : public model::Observer {
 public:
  explicit InputRecorder(std::set<std::string> names) : names_(std::move(names)) {}
  bool wants(const std::string& name) const override { return names_.contains(name); }
  void saw(const std::string& name, const Tensor& x, const model::ops::StackRows& rows) override;

  struct Rows {
    Tensor rows_RI, ends_E;
    model::ops::StackRows how;
  };
  const Rows& of(const std::string& name) const { return seen_.at(name); }

 private:
  const std::set<std::string> names_;
  std::map<std::string, Rows> seen_;
};

}  // namespace mote::compress
