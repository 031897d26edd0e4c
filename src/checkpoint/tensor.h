// A named tensor's bytes where they lie in memory that others own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/check.h"

namespace mote::checkpoint {

// Those of safetensors, then the blocks of GGUF (kernels/packed/blocks/blocks.h). F8, F6 and F4 are
// floating point of 8, 6 and 4 bits.
enum class Dtype {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
  c64,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f6_e2m3,
  f6_e3m2,
  f4,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  tq1_0,
  tq2_0,
  mxfp4,
};
constexpr std::size_t kNumDtypes = static_cast<std::size_t>(Dtype::mxfp4) + 1;

// As the format spells it: "F64", "BF16", "BOOL", "Q4_K".
const char* name(Dtype dtype);
// Whether safetensors have it; the others are GGUF's alone.
bool in_safetensors(Dtype dtype);
// A group is the fewest elements that take whole bytes: one of most, two of F4, a block of Q4_0.
std::size_t elements_per_group(Dtype dtype);
std::size_t bytes_per_group(Dtype dtype);
// Refuses a dtype whose elements do not take whole bytes.
std::size_t bytes_per_element(Dtype dtype);
double bits_per_element(Dtype dtype);

// Bytes that a shape takes, where 63 bits hold them; else what is wrong: "is too large", "has 3
// elements, ...". A zero anywhere makes a tensor empty, but the other sizes must still be sane.
struct ByteCount {
  std::uint64_t bytes = 0;
  std::string problem;
};
ByteCount byte_count(Dtype dtype, const std::vector<std::int64_t>& shape);

// "[2, 3]"
std::string in_brackets(const std::vector<std::int64_t>& shape);

// A tensor in memory that others own. Its bytes may start anywhere.
struct Tensor {
  Dtype dtype = Dtype::u8;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t num_elements() const {
    return static_cast<std::int64_t>(bytes.size() / bytes_per_group(dtype) *
                                     elements_per_group(dtype));
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
  // F32, F16, BF16 and the blocks of GGUF as float32, exactly; other types are refused.
  std::vector<float> floats() const;

 private:
  void check_element(std::size_t wanted) const {
    MOTE_CHECK(bytes_per_element(dtype) == wanted, "tensor: elements of ", name(dtype), " have ",
               bytes_per_element(dtype), " bytes, not ", wanted);
  }
};

// Of one type and shape, and every byte the same.
bool same_values(const Tensor& a, const Tensor& b);

// Numbers as a dtype that is written (kernels/packed/blocks/blocks.h) holds them.
std::vector<std::byte> encoded(Dtype dtype, std::span<const float> values);

}  // namespace mote::checkpoint
