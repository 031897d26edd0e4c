// The files of torch.save: a pickle that says which tensors there are, and storages, which hold
// their numbers. Two forms:
//   ZIP (from PyTorch 1.6 on)   records ROOT/data.pkl, ROOT/data/KEY for each storage, ROOT/byteorder
//   a stream of pickles (before)   magic, protocol, system, object, list of keys; then for each key
//                               the number of elements, i64, and the elements
// Nothing in them is run (pickle.h). A tensor is an offset, sizes and strides into a storage; several
// may share one, and then share bytes here too.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fields.h"
#include "base/file.h"
#include "checkpoint/tensor.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/zip.h"

namespace mote::checkpoint {

struct TorchPickle {
  // Dicts and lists inside each other are one name, its parts joined by dots.
  std::map<std::string, Tensor> tensors;
  // What is no tensor: numbers, texts, bools; "inf" and such as text, None as null.
  std::map<std::string, Json> values;
  // The record that a tensor's bytes come from, in the ZIP form.
  std::map<std::string, std::string> record_of;
  std::map<std::string, ZipRecord> records;
  // The bytes of tensors whose elements do not lie in C order in the file.
  std::vector<std::vector<std::byte>> copies;
};

// Whether bytes begin as either form does.
bool is_torch_pickle(std::span<const std::byte> bytes);

// `file` is used in messages only. Throws a file error that names the tensor, or what the pickle
// would import. The tensors point into `bytes`, or into `copies`, which are in all no more than
// `bytes`.
TorchPickle parse_torch_pickle(std::span<const std::byte> bytes, const std::string& file);

// A mapped file. at() reads a tensor's record once to compare its checksum.
class TorchPickleFile final : public TensorSource {
 public:
  explicit TorchPickleFile(const fs::path& path);

  const std::map<std::string, Tensor>& tensors() const override { return contents_.tensors; }
  const std::map<std::string, Json>& values() const { return contents_.values; }
  const fs::path& path() const override { return file_.path(); }
  std::string format() const override { return "PyTorch pickle"; }
  const Tensor& at(const std::string& name) const override;

 private:
  MappedFile file_;
  TorchPickle contents_;
  mutable std::map<std::string, std::atomic<bool>> checked_;  // by record
};

}  // namespace mote::checkpoint
