// The GGUF container, version 3, little-endian: keys with typed values, then tensors.
//
//   "GGUF", u32 3, u64 number of tensors, u64 number of keys
//   keys      text, u32 type, value; a text is its length, u64, and so many bytes; an array is u32
//             type of its elements, u64 count, elements, which are no arrays
//   tensors   text, u32 rank, u64 sizes (the fastest first: a shape read backwards), u32 type
//             (kernels/packed/blocks), u64 offset from where data start
//   data      from the next multiple of `general.alignment` (u32, a power of two, 32 where it is
//             missing); each tensor starts where the padding of the one before it ends
//
// The format: ggml's docs/gguf.md; what is refused beyond it: ggml's own loader. A model may be
// split over files NAME-00001-of-0000N.gguf, the keys of the model in the first.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/gguf_keys.h"
#include "checkpoint/tensor_source.h"

namespace mote::checkpoint {

constexpr const char* kGgufAlignment = "general.alignment";
constexpr std::uint64_t kLongestGgufName = 63;
constexpr std::size_t kMostGgufAxes = 4;

struct Gguf {
  GgufKeys keys;
  std::map<std::string, Tensor> tensors;
  std::vector<std::string> order;  // the tensors' names as they stand in the file
};

// `file` is used in messages only. Throws a file error that names the key or tensor for anything
// that the format does not allow, before anything of a size that the file says is allocated;
// what it returns points into `bytes`.
Gguf parse_gguf(std::span<const std::byte> bytes, const std::string& file);

// Keys as they stand in a file, `count` of them and nothing else; what it returns points into `bytes`.
GgufKeys parse_gguf_keys(std::span<const std::byte> bytes, std::uint64_t count,
                         const std::string& file);

// Tensors with keys: a file, or one that is to be written (gguf_plan.h).
class GgufSource : public TensorSource {
 public:
  std::string format() const override { return "GGUF"; }
  virtual const GgufKeys& keys() const = 0;
};

// A mapped model, with all files that it is split over; `path` may be any of them.
class GgufFile final : public GgufSource {
 public:
  explicit GgufFile(const fs::path& path);

  const std::map<std::string, Tensor>& tensors() const override { return tensors_; }
  const fs::path& path() const override { return files_.front()->path(); }
  std::vector<fs::path> files() const override;
  const GgufKeys& keys() const override { return parts_.front().keys; }
  // A part for each file.
  const std::vector<Gguf>& parts() const { return parts_; }

 private:
  void open(const fs::path& path);
  void check_part(std::size_t part, std::int64_t count) const;

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<Gguf> parts_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace mote::checkpoint
