// A model's files, opened once: its config, its tensors, and each parameter where they have it.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "checkpoint/gguf.h"
#include "model/saved.h"

namespace mote::model {

// Null where `path` is no GGUF model: a file, or a folder that has one and no config.json. `tensors` are
// opened unless they are.
const checkpoint::GgufFile* gguf_in(const fs::path& path,
                                    std::shared_ptr<const checkpoint::TensorSource>& tensors);

// The family of a folder's config.json.
const checkpoint::Family& family_in(const fs::path& folder);

// `tensors` are opened where the family asks for them.
SavedConfig read_config_of(const fs::path& folder,
                           std::shared_ptr<const checkpoint::TensorSource>& tensors);

class ModelSource {
 public:
  explicit ModelSource(const fs::path& folder);

  const SavedConfig& saved() const { return saved_; }
  const checkpoint::TensorSource& tensors() const { return *owner_; }

  // A matrix as it lies in the files, or a stack of them; packed parts are checked. All throw a file error
  // that names the tensor where it is missing or has another shape.
  WeightPtr matrix(const Parameter& parameter, const Executor& executor) const;
  // Float32, whatever the files have: it is small.
  Tensor tensor(const Parameter& parameter) const;
  // Float32, or bfloat16 where the files have that.
  RowTablePtr table(const Parameter& parameter) const;

  // Throws where the files have what nobody asked for.
  void check_all_used() const;

 private:
  const std::vector<checkpoint::PackedTensor>& packed() const;
  Tensor find(const Parameter& parameter) const;
  WeightPtr packed_matrix(const Parameter& parameter, const checkpoint::PackedTensor& stored,
                          const Executor& executor) const;
  WeightPtr of_qmoe(const Parameter& parameter, const checkpoint::StoredTensor& stored,
                    const Executor& executor) const;
  WeightPtr in_blocks(const Parameter& parameter, const std::string& name,
                      const kernels::Coder& coder, const Executor& executor) const;

  std::shared_ptr<const checkpoint::TensorSource> owner_;
  const SavedConfig saved_;
  const checkpoint::UsedTensors used_;
  mutable std::set<std::string> used_packed_;
};

}  // namespace mote::model
