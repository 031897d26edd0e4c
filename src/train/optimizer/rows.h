// Adam and AdamW over the rows of a table, which cost a step what the rows that it touches cost.
//
// Dense Adam moves a row in every step, with or without a gradient. Here a row that had none is left
// behind and brought up to date when it is next read, by all the moves that it missed at once
// (specs/peer.md 4.5): from step l, with moments m and v, to step t they are
//   p := D(l) p - B(l) m / (sqrt(v) + eps'),  m := beta1^(t - l) m,  v := beta2^(t - l) v
//   D(l) = prod_s d_s,  B(l) = sum_s lr_s (beta1 / sqrt(beta2))^(s - l) k_s prod_{r > s} d_r,  l < s <= t
//   d_s = 1 - lr_s decay,  k_s = sqrt(1 - beta2^s) / (1 - beta1^s)
// with eps' the mean of epsilon sqrt(1 - beta2^s) / beta2^((s - l)/2) weighted as in B(l). That is dense
// Adam to rounding and, where sqrt(v) is not far above epsilon, to what eps' leaves out. Weight decay in the gradient (adam) cannot be put off and is
// refused; that of adamw is d_s.
#pragma once

#include <vector>

#include "kernels/lookup/adam_rows/adam_rows.h"
#include "train/optimizer/optimizer.h"

namespace mote::train {

class RowGroup final : public OptimizerGroup, public model::RowUpdater {
 public:
  RowGroup(model::RowTablePtr table, const TrainingConfig& config, const kernels::Run& run);
  ~RowGroup() override;
  double squared_norm() override;
  void apply(double learning_rate, double factor, std::int64_t step) override;
  void flush() override;
  // "mean.NAME" and "square.NAME" of rows that are up to date: after a flush.
  void visit_state(const StateVisitor& visitor) override;
  void restore(std::int64_t steps_done) override;
  void catch_up(model::RowTable& table, const Tensor& rows) override;

 private:
  void bring_to_now(const Tensor& rows);
  void update_moves();
  kernels::AdamTable tensors();

  const model::RowTablePtr table_;
  const TrainingConfig config_;
  const kernels::Run run_;
  Tensor mean_ND_, square_ND_;
  Tensor step_N_;  // int32: the step that a row is of
  std::int64_t steps_done_ = 0;
  std::vector<double> rates_;  // of the steps since the last flush, before which no row is
  std::vector<kernels::RowMove> moves_;  // of rows that are 1, 2, ... steps behind
  model::RowGradient gradient_;
};

}  // namespace mote::train
