// A named tensor's bytes where they lie in memory that others own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/check.h"

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

}  // namespace mote::checkpoint
