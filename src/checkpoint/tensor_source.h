// Where a checkpoint's tensors come from: one file, or shards with an index.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor.h"

namespace mote::checkpoint {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::map<std::string, Tensor>& tensors() const = 0;
  // The file that messages name: the only one, or the index.
  virtual const fs::path& path() const = 0;
  // "safetensors", "GGUF", "PyTorch pickle"
  virtual std::string format() const = 0;
  // All files it is read from, an index first.
  virtual std::vector<fs::path> files() const { return {path()}; }
  // Throws a file error that suggests the nearest name.
  virtual const Tensor& at(const std::string& name) const;
  bool has(const std::string& name) const { return tensors().contains(name); }
};

// A source that remembers what it was asked for, so that what nobody asked for can be named. The
// source must outlive it.
class UsedTensors final : public TensorSource {
 public:
  explicit UsedTensors(const TensorSource& source) : source_(source) {}
  const std::map<std::string, Tensor>& tensors() const override { return source_.tensors(); }
  const fs::path& path() const override { return source_.path(); }
  std::string format() const override { return source_.format(); }
  std::vector<fs::path> files() const override { return source_.files(); }
  const Tensor& at(const std::string& name) const override {
    used_.insert(name);
    return source_.at(name);
  }
  // Throws a file error that names a tensor that was not used.
  void check_all_used() const;

 private:
  const TensorSource& source_;
  mutable std::set<std::string> used_;
};

// The model in `folder`: model.safetensors, or the shards that model.safetensors.index.json names.
// Each of its tensors must lie where the index says, and no others.
std::shared_ptr<const TensorSource> open_tensors(const fs::path& folder);

// The files of that model, the index first where there is one.
std::vector<fs::path> model_files(const fs::path& folder);

}  // namespace mote::checkpoint
