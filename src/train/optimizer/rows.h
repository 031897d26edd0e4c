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
//
// With untouched = "stay" it is SparseAdam instead: rows without a gradient keep values and moments,
//   p := p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
// t the run's steps, or with bias_step = "row" the row's updates. A decay would depend on how often a
// row is touched and is refused.
#pragma once

#include <vector>

#include "base/rng.h"
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
  // "mean.NAME" and "square.NAME" of rows that are up to date, after a flush; "count.NAME", a row's
  // updates, where they count.
  void visit_state(const StateVisitor& visitor) override;
  void restore(std::int64_t steps_done) override;
  void catch_up(model::RowTable& table, const Tensor& rows) override;

 private:
  bool moves() const { return config_.tables.untouched == UntouchedRows::move; }
  bool counts() const { return config_.tables.bias_step == BiasStep::row; }
  std::vector<kernels::AdamStep> steps_of(const Tensor& rows, double rate, std::int64_t step);
  void bring_to_now(const Tensor& rows);
  void update_moves();
  kernels::AdamTable tensors();
  // Of the random rounding after so many steps; of a row's update, and of its moves.
  enum class Rounding { update, moves };
  std::uint32_t key(std::int64_t step, Rounding what) const;

  const model::RowTablePtr table_;
  const TrainingConfig config_;
  const kernels::Run run_;
  const double rate_factor_;  // of the learning rate of everything else
  Tensor mean_ND_, square_;   // [N, D], or [N]
  Tensor step_N_;             // int32: the step that a row is of, where rows move
  Tensor count_N_;            // float32, whole: a row's updates, where they count
  std::int64_t steps_done_ = 0;
  std::vector<double> rates_;  // of the steps since the last flush, before which no row is
  std::vector<kernels::RowMove> moves_;  // of rows that are 1, 2, ... steps behind
  model::RowGradient gradient_;
};

}  // namespace mote::train
