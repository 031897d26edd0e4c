// A GGUF file that is to be written, as its readers see it: keys, and tensors without data. What is
// written is read so first, that a file which says another thing is never begun.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_writer.h"

namespace mote::checkpoint {

class GgufPlan final : public GgufSource {
 public:
  // `path` is used in messages only. `keys` must outlive the plan.
  GgufPlan(fs::path path, const GgufKeyList& keys, std::span<const TensorSpec> specs)
      : path_(std::move(path)),
        keys_(
            parse_gguf_keys(std::as_bytes(std::span(keys.bytes())), keys.size(), path_.string())) {
    for (const TensorSpec& spec : specs) tensors_[spec.name] = {spec.dtype, spec.shape, {}};
  }

  // One whose values decide what the model is; they must outlive the plan.
  void add(const std::string& name, const std::vector<float>& values) {
    tensors_[name] = {
        Dtype::f32, {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))};
  }

  const std::map<std::string, Tensor>& tensors() const override { return tensors_; }
  const fs::path& path() const override { return path_; }
  const GgufKeys& keys() const override { return keys_; }

 private:
  const fs::path path_;
  const GgufKeys keys_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace mote::checkpoint
