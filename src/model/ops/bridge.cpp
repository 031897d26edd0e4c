#include "model/ops/bridge.h"

#include <ATen/Parallel.h>

namespace mote::model::ops {
namespace {

class TorchExecutor final : public Executor {
 public:
  int threads() const override { return at::in_parallel_region() ? 1 : at::get_num_threads(); }
  void on_each_worker(const std::function<void(int)>& body) const override {
    at::parallel_for(0, threads(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t worker = begin; worker < end; ++worker) body(static_cast<int>(worker));
    });
  }
};

}  // namespace

const Executor& torch_executor() {
  static const TorchExecutor executor;
  return executor;
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
