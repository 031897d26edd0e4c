// Writing GGUF, version 3 (gguf.h has the bytes): keys and tensors in the order given, so that what
// was read is written again byte for byte.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_keys.h"
#include "checkpoint/tensor_writer.h"

namespace mote::checkpoint {

// The keys to write, in order. Refuses one that is there already. `general.alignment`, where it is
// added, is what tensors are aligned to.
class GgufKeyList {
 public:
  // Of any arithmetic type that GgufType has.
  template <class T>
  void add(const std::string& key, T value) {
    static_assert(std::is_arithmetic_v<T>);
    add(key, {type_of<T>(), false, 1, std::as_bytes(std::span(&value, 1))});
  }
  template <class T>
  void add_array(const std::string& key, const std::vector<T>& values) {
    add(key, {type_of<T>(), true, values.size(), std::as_bytes(std::span(values))});
  }
  void add_text(const std::string& key, std::string_view text);
  void add_texts(const std::string& key, const std::vector<std::string_view>& texts);
  void add(const std::string& key, const GgufValue& value);

  std::uint64_t size() const { return keys_.size(); }
  const std::string& bytes() const { return bytes_; }
  std::uint64_t alignment() const { return alignment_; }

 private:
  template <class T>
  static constexpr GgufType type_of() {
    if constexpr (std::is_same_v<T, bool>) return GgufType::boolean;
    if constexpr (std::is_floating_point_v<T>)
      return sizeof(T) == 4 ? GgufType::f32 : GgufType::f64;
    constexpr GgufType kSigned[] = {GgufType::i8, GgufType::i16, GgufType::i32, GgufType::i64};
    constexpr GgufType kUnsigned[] = {GgufType::u8, GgufType::u16, GgufType::u32, GgufType::u64};
    constexpr int kLog = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
    return std::is_signed_v<T> ? kSigned[kLog] : kUnsigned[kLog];
  }

  std::set<std::string> keys_;
  std::string bytes_;
  std::uint64_t alignment_ = 32;
};

class GgufWriter {
 public:
  // Refuses what readers do: names of over 63 bytes, over four axes, types that GGUF lacks, rows that
  // blocks do not fill.
  GgufWriter(const fs::path& path, const GgufKeyList& keys, const std::vector<TensorSpec>& specs);

  void write(const std::string& tensor, std::span<const std::byte> bytes) {
    writer_.write(tensor, bytes);
  }
  void commit() { writer_.commit(); }

 private:
  TensorWriter writer_;
};

}  // namespace mote::checkpoint
