#include "model/ops/bridge.h"

#include <ATen/Parallel.h>

#include "base/check.h"
#include "model/buffers.h"

namespace mote::model::ops {

Tensor output(at::IntArrayRef sizes, const Pass& pass, torch::ScalarType type) {
  return pass.buffers && !torch::GradMode::is_enabled() ? pass.buffers->take(sizes, type)
                                                        : torch::empty(sizes, type);
}

Tensor gathered(const Tensor& ids_any, std::int64_t rows, std::int64_t columns, const Pass& pass,
                FunctionRef<void(std::int64_t id, float* row)> read) {
  const Tensor ids = ids_any.contiguous();
  at::DimVector sizes(ids.sizes().begin(), ids.sizes().end());
  sizes.push_back(columns);
  Tensor y = output(sizes, pass);
  const auto* id = ids.const_data_ptr<std::int64_t>();
  float* out = y.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    MOTE_CHECK(id[i] >= 0 && id[i] < rows, "gather_rows: row ", id[i], " of ", rows);
    read(id[i], out + i * columns);
  }
  return y;
}

std::unique_ptr<ThreadPool> make_thread_pool(int threads) {
  at::set_num_threads(1);
  return std::make_unique<ThreadPool>(threads, [] { at::set_num_threads(1); });
}

void remember(torch::autograd::AutogradContext* saved, const kernels::Run& run,
              kernels::Precision precision) {
  saved->saved_data["ceiling"] = static_cast<std::int64_t>(run.ceiling);
  saved->saved_data["executor"] = reinterpret_cast<std::int64_t>(run.executor);
  saved->saved_data["multiply_adds"] = reinterpret_cast<std::int64_t>(run.multiply_adds);
  saved->saved_data["precision"] = static_cast<std::int64_t>(precision);
}

kernels::Run recall_run(torch::autograd::AutogradContext* saved) {
  kernels::Run run;
  run.ceiling = static_cast<kernels::Isa>(saved->saved_data["ceiling"].toInt());
  run.executor = reinterpret_cast<const Executor*>(saved->saved_data["executor"].toInt());
  run.multiply_adds =
      reinterpret_cast<std::atomic<std::int64_t>*>(saved->saved_data["multiply_adds"].toInt());
  return run;
}

kernels::Precision recall_precision(torch::autograd::AutogradContext* saved) {
  return static_cast<kernels::Precision>(saved->saved_data["precision"].toInt());
}

}  // namespace mote::model::ops
