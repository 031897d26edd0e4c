#include "train/optimizer/rows.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/ops/bridge.h"
#include "model/ops/table_rows.h"

namespace mote::train {

using model::ops::view_of;

namespace {

void check_decay(const TrainingConfig& config, const std::string& table) {
  if (config.weight_decay == 0) return;
  const auto refuse = [&](const char* why) {
    throw Error(ErrorKind::config, concat("training.weight_decay: is ", config.weight_decay,
                                          ", but '", table, "' is a table whose rows ", why))
        .at("training.weight_decay");
  };
  if (config.tables.untouched == UntouchedRows::stay)
    refuse(
        "stay as they are without a gradient, so that each would decay as often as it is touched; "
        "take training.tables.untouched = \"move\", or weight_decay = 0");
  if (config.optimizer == OptimizerKind::adam)
    refuse(
        "are not all updated in every step, so that a decay in the gradient cannot be put off; "
        "take optimizer = \"adamw\", or weight_decay = 0");
}

kernels::RowStore store_of(Tensor& x, std::int64_t stride) {
  return {x.mutable_data_ptr(), stride, model::ops::table_type(x)};
}

}  // namespace

RowGroup::RowGroup(model::RowTablePtr table, const TrainingConfig& config, const kernels::Run& run)
    : table_(std::move(table)),
      config_(config),
      run_(run),
      rate_factor_(config.tables.learning_rate > 0
                       ? config.tables.learning_rate / config.learning_rate
                       : 1) {
  check_decay(config_, table_->name());
  const std::vector<std::int64_t> shape = table_->values().sizes().vec();
  const torch::ScalarType type =
      config_.tables.moments == StoredType::bf16 ? torch::kBFloat16 : torch::kFloat32;
  mean_ND_ = model::table_memory(shape, type).zero_();
  square_ = config_.tables.second_moment == SecondMoment::row
                ? torch::zeros({shape[0]})
                : model::table_memory(shape, type).zero_();
  if (moves()) step_N_ = torch::zeros({shape[0]}, torch::kInt32);
  if (counts()) count_N_ = torch::zeros({shape[0]});
  table_->set_updater(this);
}

RowGroup::~RowGroup() {
  table_->set_updater(nullptr);
}

double RowGroup::squared_norm() {
  gradient_ = table_->take_gradient();
  if (!gradient_.rows_N.defined()) return 0;
  // Squares are summed in float32 within a part, parts in double in their order.
  constexpr std::int64_t kRows = 1024;
  const std::int64_t rows = gradient_.grad_ND.size(0);
  std::vector<double> norms(static_cast<std::size_t>((rows + kRows - 1) / kRows));
  parallel_for(*run_.executor, static_cast<std::int64_t>(norms.size()), [&](std::int64_t i, int) {
    const torch::NoGradGuard no_grad;
    const std::int64_t first = i * kRows;
    norms[static_cast<std::size_t>(i)] =
        gradient_.grad_ND.narrow(0, first, std::min(kRows, rows - first)).norm().item<double>();
  });
  double squares = 0;
  for (const double n : norms) squares += n * n;
  return squares;
}

kernels::AdamTable RowGroup::tensors() {
  const std::int64_t rows = table_->values().size(0), columns = table_->values().size(1);
  const bool row_square = square_.dim() == 1;
  return {rows,
          columns,
          store_of(table_->values(), columns),
          store_of(mean_ND_, columns),
          store_of(square_, row_square ? 1 : columns),
          row_square};
}

std::uint32_t RowGroup::key(std::int64_t step, Rounding what) const {
  const Rng rng(static_cast<std::uint64_t>(config_.seed), Purpose::rounding,
                static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(what));
  return rng.block(static_cast<std::uint32_t>(name_key(table_->name())))[0];
}

std::vector<kernels::AdamStep> RowGroup::steps_of(const Tensor& rows, double rate,
                                                  std::int64_t step) {
  const auto at = [&](double t) {
    const double root = 1 / std::sqrt(1 - std::pow(config_.beta2, t));
    return kernels::AdamStep{static_cast<float>(rate / (1 - std::pow(config_.beta1, t))),
                             static_cast<float>(root),
                             static_cast<float>(config_.epsilon * (moves() ? 1 : root))};
  };
  if (!counts()) return {at(static_cast<double>(step))};
  const auto* row = rows.const_data_ptr<std::int64_t>();
  auto* count = count_N_.mutable_data_ptr<float>();
  std::vector<kernels::AdamStep> steps;
  steps.reserve(static_cast<std::size_t>(rows.numel()));
  for (std::int64_t i = 0; i < rows.numel(); ++i)
    steps.push_back(at(static_cast<double>(++count[row[i]])));
  return steps;
}

void RowGroup::apply(double learning_rate, double factor, std::int64_t step) {
  const torch::NoGradGuard no_grad;
  const double rate = learning_rate * rate_factor_;
  if (gradient_.rows_N.defined()) {
    if (moves()) bring_to_now(gradient_.rows_N);
    const std::vector<kernels::AdamStep> steps = steps_of(gradient_.rows_N, rate, step);
    kernels::AdamRows args{tensors(), view_of<const std::int64_t, 1>(gradient_.rows_N),
                           view_of<const float, 2>(gradient_.grad_ND)};
    args.step = steps.data(), args.own_steps = counts();
    args.factor = static_cast<float>(factor);
    args.decay = static_cast<float>(1 - rate * config_.weight_decay);
    args.beta1 = static_cast<float>(config_.beta1), args.beta2 = static_cast<float>(config_.beta2);
    args.key = key(step, Rounding::update);
    kernels::adam_rows(args, run_);
    if (moves()) step_N_.index_fill_(0, gradient_.rows_N, step);
  }
  gradient_ = {};
  steps_done_ = step;
  if (!moves()) return;
  rates_.push_back(rate);
  update_moves();
}

void RowGroup::update_moves() {
  const double ratio = config_.beta1 / std::sqrt(config_.beta2);
  double decay = 1, rate = 0, rate_epsilon = 0;
  moves_.resize(rates_.size());
  for (std::size_t behind = 1; behind <= moves_.size(); ++behind) {
    const auto s = static_cast<double>(steps_done_ - static_cast<std::int64_t>(behind) + 1);
    const double lr = rates_[rates_.size() - behind];
    const double root = std::sqrt(1 - std::pow(config_.beta2, s));
    const double part = lr * root / (1 - std::pow(config_.beta1, s)) * decay;
    rate = ratio * (part + rate);
    rate_epsilon =
        ratio / std::sqrt(config_.beta2) * (part * config_.epsilon * root + rate_epsilon);
    decay *= 1 - lr * config_.weight_decay;
    moves_[behind - 1] = {static_cast<float>(decay), static_cast<float>(rate),
                          static_cast<float>(rate > 0 ? rate_epsilon / rate : config_.epsilon),
                          static_cast<float>(std::pow(config_.beta1, static_cast<double>(behind))),
                          static_cast<float>(std::pow(config_.beta2, static_cast<double>(behind)))};
  }
}

void RowGroup::bring_to_now(const Tensor& rows) {
  const auto* row = rows.const_data_ptr<std::int64_t>();
  auto* step = step_N_.mutable_data_ptr<std::int32_t>();
  std::vector<std::int64_t> late;
  std::vector<kernels::RowMove> moves;
  for (std::int64_t i = 0; i < rows.numel(); ++i) {
    const std::int64_t behind = steps_done_ - step[row[i]];
    if (behind == 0) continue;
    late.push_back(row[i]);
    moves.push_back(moves_[static_cast<std::size_t>(behind - 1)]);
    step[row[i]] = static_cast<std::int32_t>(steps_done_);
  }
  kernels::move_rows(
      {tensors(),
       kernels::view<const std::int64_t>(late.data(), static_cast<std::int64_t>(late.size())),
       moves.data(), key(steps_done_, Rounding::moves)},
      run_);
}

void RowGroup::catch_up(model::RowTable&, const Tensor& rows) {
  const torch::NoGradGuard no_grad;
  if (moves()) bring_to_now(rows);
}

void RowGroup::flush() {
  if (!moves()) return;
  const torch::NoGradGuard no_grad;
  constexpr std::int64_t kRows = 1 << 16;
  const std::int64_t all = step_N_.size(0);
  for (std::int64_t first = 0; first < all; first += kRows)
    bring_to_now(torch::arange(first, std::min(all, first + kRows), torch::kInt64));
  rates_.clear();
  moves_.clear();
}

void RowGroup::visit_state(const StateVisitor& visitor) {
  visitor("mean." + table_->name(), mean_ND_);
  visitor("square." + table_->name(), square_);
  if (counts()) visitor("count." + table_->name(), count_N_);
}

void RowGroup::restore(std::int64_t steps_done) {
  steps_done_ = steps_done;
  if (moves()) step_N_.fill_(steps_done);
  rates_.clear();
  moves_.clear();
}

}  // namespace mote::train
