// The safetensors container: named tensors after a JSON header, gapless, little-endian.
//
//   bytes 0..7   N, the header's length, u64
//   N bytes      {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//                 "__metadata__": {"key": "text", ...}}, spaces allowed at the end
//   then         the data; offsets count from here and cover it without gap or overlap
//
// Files written here have 8 + N a multiple of 64, and every tensor starts at a multiple of 64: a
// tensor whose size is no multiple of 64 is followed by a U8 tensor `__pad.I` of up to 63 zero
// bytes, I the index of the tensor before it. The format's own library opens such files; readers
// here leave the padding out. Files for other programs, which would take it for tensors, are written without;
// those and files from elsewhere may start a tensor at any byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/tensor_writer.h"

namespace mote::checkpoint {

struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> order;  // the tensors' names as their data lie in the file
};

// `file` is used in messages only. Throws a file error that names the tensor for anything that the
// format does not allow; what it returns points into `bytes`.
Safetensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file);

// A mapped file and its tensors. No tensor's data is read before it is used.
class SafetensorsFile final : public TensorSource {
 public:
  explicit SafetensorsFile(const fs::path& path);

  const std::map<std::string, Tensor>& tensors() const override { return contents_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return contents_.metadata; }
  const std::vector<std::string>& order() const { return contents_.order; }
  const fs::path& path() const override { return file_.path(); }
  std::string format() const override { return "safetensors"; }

 private:
  MappedFile file_;
  Safetensors contents_;
};

// Between tensors: up to the next multiple of 64 bytes, or nothing.
enum class Padding { to_64, none };

// Writes a file in one pass: all names and shapes first, then the data (tensor_writer.h).
class SafetensorsWriter {
 public:
  SafetensorsWriter(const fs::path& path, const std::vector<TensorSpec>& specs,
                    const std::map<std::string, std::string>& metadata = {},
                    Padding padding = Padding::to_64);

  void write(const std::string& tensor, std::span<const std::byte> bytes) {
    writer_.write(tensor, bytes);
  }
  void commit() { writer_.commit(); }

 private:
  TensorWriter writer_;
};

// Writes a model of any size into a folder: model.safetensors where it fits into `most_bytes`, else
// model-00001-of-0000N.safetensors of at most that each (a larger tensor has a file of its own) and
// model.safetensors.index.json, the layout of Hugging Face. Data come in the order announced; no
// more than one file is open.
class ModelWriter {
 public:
  ModelWriter(fs::path folder, std::vector<TensorSpec> specs, std::uint64_t most_bytes,
              Padding padding = Padding::to_64);
  void write(const std::string& tensor, std::span<const std::byte> bytes);
  void commit();

 private:
  std::string file_name(std::size_t shard) const;
  void open_next();

  const fs::path folder_;
  const Padding padding_;
  std::vector<std::vector<TensorSpec>> shards_;
  std::size_t next_ = 0;  // the shard to open after the one being written
  std::unique_ptr<SafetensorsWriter> writer_;
  std::set<std::string> here_;  // tensors of the shard being written
};

}  // namespace mote::checkpoint
