// A file of a header and then tensors, each of which starts at a multiple of an alignment: what
// safetensors and GGUF have in common. One pass, the tensors in the order announced, each in as many
// parts as the caller likes. The file appears under its name at commit().
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor.h"

namespace mote::checkpoint {

struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
};

// Bytes of the tensor described; throws a value error where that overflows.
std::uint64_t num_bytes(const TensorSpec& spec);

class TensorWriter {
 public:
  // The header is padded with zeros.
  TensorWriter(const fs::path& path, const std::string& header, std::vector<TensorSpec> specs,
               std::size_t alignment);

  // The next bytes of `tensor`: the one being written or, when that one is complete, the next.
  void write(const std::string& tensor, std::span<const std::byte> bytes);
  // Refuses while data is missing.
  void commit();

 private:
  void finish_tensor();

  const std::vector<TensorSpec> specs_;
  const std::size_t alignment_;
  FileWriter file_;
  std::size_t current_ = 0;  // index into specs_
  std::uint64_t left_ = 0;   // bytes of it still to come
};

}  // namespace mote::checkpoint
