#include "model/ops/bridge.h"

#include <ATen/Parallel.h>

namespace mote::model::ops {
std::unique_ptr<ThreadPool> make_thread_pool(int threads) {
  at::set_num_threads(1);
  return std::make_unique<ThreadPool>(threads, [] { at::set_num_threads(1); });
}

void remember(torch::autograd::AutogradContext* saved, const kernels::Run& run,
              kernels::Precision precision) {
  saved->saved_data["ceiling"] = static_cast<std::int64_t>(run.ceiling);
  saved->saved_data["executor"] = reinterpret_cast<std::int64_t>(run.executor);
  saved->saved_data["precision"] = static_cast<std::int64_t>(precision);
}

kernels::Run recall_run(torch::autograd::AutogradContext* saved) {
  kernels::Run run;
  run.ceiling = static_cast<kernels::Isa>(saved->saved_data["ceiling"].toInt());
  run.executor = reinterpret_cast<const Executor*>(saved->saved_data["executor"].toInt());
  return run;
}

kernels::Precision recall_precision(torch::autograd::AutogradContext* saved) {
  return static_cast<kernels::Precision>(saved->saved_data["precision"].toInt());
}

}  // namespace mote::model::ops
