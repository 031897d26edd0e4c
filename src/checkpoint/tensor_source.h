// Where a checkpoint's tensors come from: a file of any container, or several, with an index or not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/model_files.h"
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
  using Ignored = std::function<bool(const std::string& name)>;
  static bool none(const std::string&) { return false; }
  // Those that nobody asked for and that `ignored` does not know, by name.
  std::vector<std::string> unused(const Ignored& ignored = none) const;
  // Throws a file error that names them.
  void check_all_used(const Ignored& ignored = none) const;

 private:
  const TensorSource& source_;
  mutable std::set<std::string> used_;
};

// One file, whatever its name: a safetensors file, one of torch.save, GGUF; told apart by its first
// bytes.
std::shared_ptr<const TensorSource> open_file(const fs::path& file);

// Whether it is a file that open_file() has a container for, by its first bytes or its extension.
bool is_tensor_file(const fs::path& file);

// A file, an index or a folder: the files that model_files() finds. Of an index each tensor must lie
// where it says; others are left out with a warning. No tensor may lie in two files.
std::shared_ptr<const TensorSource> open_tensors(const fs::path& path);

}  // namespace mote::checkpoint
