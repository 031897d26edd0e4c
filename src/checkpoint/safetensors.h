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
// here leave the padding out. Files from elsewhere may start a tensor at any byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/file.h"

namespace mote::checkpoint {

enum class Dtype { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

// As the format spells it: "F64", "BF16", "BOOL".
const char* name(Dtype dtype);
std::size_t bytes_per_element(Dtype dtype);

// A tensor in memory that others own. Its bytes may start anywhere.
struct Tensor {
  Dtype dtype = Dtype::u8;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t num_elements() const {
    return static_cast<std::int64_t>(bytes.size() / bytes_per_element(dtype));
  }
  // The elements where they lie. Refuses an element of another size and an address that T cannot
  // have; copied() takes any address. BF16 and F16 are read as std::uint16_t.
  template <class T>
  std::span<const T> elements() const {
    check_element(sizeof(T));
    MOTE_CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0,
               "tensor: its data is not aligned to ", alignof(T), " bytes; copy it first");
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  std::vector<T> copied() const {
    static_assert(std::is_trivially_copyable_v<T>);
    check_element(sizeof(T));
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  void check_element(std::size_t wanted) const {
    MOTE_CHECK(bytes_per_element(dtype) == wanted, "tensor: elements of ", name(dtype), " have ",
               bytes_per_element(dtype), " bytes, not ", wanted);
  }
};

struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// `file` is used in messages only. Throws a file error that names the tensor for anything that the
// format does not allow; what it returns points into `bytes`.
Safetensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file);

// A mapped file and its tensors. No tensor's data is read before it is used.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const fs::path& path)
      : file_(path), contents_(parse_safetensors(file_.bytes(), path.string())) {}

  const std::map<std::string, Tensor>& tensors() const { return contents_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return contents_.metadata; }
  const fs::path& path() const { return file_.path(); }
  bool has(const std::string& name) const { return contents_.tensors.contains(name); }
  // Throws a file error that suggests the nearest name.
  const Tensor& at(const std::string& name) const;

 private:
  MappedFile file_;
  Safetensors contents_;
};

struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
};

// Bytes of the tensor described; throws a value error where that overflows.
std::uint64_t num_bytes(const TensorSpec& spec);

// Writes a file in one pass: all names and shapes first, then the data in the same order, each
// tensor in as many parts as the caller likes. The file appears under its name at commit().
class SafetensorsWriter {
 public:
  SafetensorsWriter(const fs::path& path, std::vector<TensorSpec> specs,
                    const std::map<std::string, std::string>& metadata = {});

  // The next bytes of `tensor`: the one being written or, when that one is complete, the next.
  void write(const std::string& tensor, std::span<const std::byte> bytes);
  // Refuses while data is missing.
  void commit();

 private:
  void finish_tensor();

  std::vector<TensorSpec> specs_;
  FileWriter file_;
  std::size_t current_ = 0;  // index into specs_
  std::uint64_t left_ = 0;   // bytes of it still to come
};

}  // namespace mote::checkpoint
