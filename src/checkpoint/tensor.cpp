#include "checkpoint/tensor.h"

#include <algorithm>
#include <array>

#include "kernels/packed/blocks/blocks.h"

namespace mote::checkpoint {
namespace {

struct DtypeRow {
  const char* name;
  std::size_t elements, bytes;  // of a group
  bool in_safetensors = true;
};
constexpr std::array<DtypeRow, kNumDtypes> kDtypes{{{"F64", 1, 8},
                                                    {"F32", 1, 4},
                                                    {"F16", 1, 2},
                                                    {"BF16", 1, 2},
                                                    {"I64", 1, 8},
                                                    {"I32", 1, 4},
                                                    {"I16", 1, 2},
                                                    {"I8", 1, 1},
                                                    {"U64", 1, 8},
                                                    {"U32", 1, 4},
                                                    {"U16", 1, 2},
                                                    {"U8", 1, 1},
                                                    {"BOOL", 1, 1},
                                                    {"C64", 1, 8},
                                                    {"F8_E5M2", 1, 1},
                                                    {"F8_E4M3", 1, 1},
                                                    {"F8_E8M0", 1, 1},
                                                    {"F8_E4M3FNUZ", 1, 1},
                                                    {"F8_E5M2FNUZ", 1, 1},
                                                    {"F6_E2M3", 4, 3},
                                                    {"F6_E3M2", 4, 3},
                                                    {"F4", 2, 1},
                                                    {"Q4_0", 32, 18, false},
                                                    {"Q4_1", 32, 20, false},
                                                    {"Q5_0", 32, 22, false},
                                                    {"Q5_1", 32, 24, false},
                                                    {"Q8_0", 32, 34, false},
                                                    {"Q2_K", 256, 84, false},
                                                    {"Q3_K", 256, 110, false},
                                                    {"Q4_K", 256, 144, false},
                                                    {"Q5_K", 256, 176, false},
                                                    {"Q6_K", 256, 210, false},
                                                    {"TQ1_0", 256, 54, false},
                                                    {"TQ2_0", 256, 66, false},
                                                    {"MXFP4", 32, 17, false}}};

const DtypeRow& row(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)];
}

}  // namespace

const char* name(Dtype dtype) {
  return row(dtype).name;
}

bool in_safetensors(Dtype dtype) {
  return row(dtype).in_safetensors;
}

std::size_t elements_per_group(Dtype dtype) {
  return row(dtype).elements;
}

std::size_t bytes_per_group(Dtype dtype) {
  return row(dtype).bytes;
}

std::size_t bytes_per_element(Dtype dtype) {
  MOTE_CHECK(row(dtype).elements == 1, "tensor: ", row(dtype).elements, " elements of ",
             name(dtype), " share ", row(dtype).bytes, " bytes; decode it first");
  return row(dtype).bytes;
}

double bits_per_element(Dtype dtype) {
  return 8 * static_cast<double>(row(dtype).bytes) / static_cast<double>(row(dtype).elements);
}

ByteCount byte_count(Dtype dtype, const std::vector<std::int64_t>& shape) {
  const auto per_group = static_cast<std::int64_t>(row(dtype).elements);
  const auto size = static_cast<std::int64_t>(row(dtype).bytes);
  std::int64_t elements = 1, bytes = 0;
  bool empty = false;
  for (const std::int64_t n : shape) {
    if (n < 0) return {0, concat("has the size ", n)};
    empty = empty || n == 0;
    if (n > 0 && __builtin_mul_overflow(elements, n, &elements)) return {0, "is too large"};
  }
  if (empty) elements = 0;
  if (elements % per_group != 0)
    return {0, concat("has ", elements, " elements, which come in groups of ", per_group)};
  if (__builtin_mul_overflow(elements / per_group, size, &bytes)) return {0, "is too large"};
  return {static_cast<std::uint64_t>(bytes), ""};
}

bool same_values(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
}

std::string in_brackets(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

namespace {

const kernels::BlockType& numbers_of(Dtype dtype) {
  const kernels::BlockType* type = kernels::find_block_type(name(dtype));
  if (type == nullptr)
    throw Error(ErrorKind::unsupported, concat("tensor: ", name(dtype),
                                               " is not read as numbers; F32, F16, BF16 and the "
                                               "blocks of GGUF are"));
  return *type;
}

}  // namespace

std::vector<float> Tensor::floats() const {
  std::vector<float> values(static_cast<std::size_t>(num_elements()));
  kernels::decode_blocks(numbers_of(dtype), bytes, values);
  return values;
}

std::vector<std::byte> encoded(Dtype dtype, std::span<const float> values) {
  const kernels::BlockType& type = numbers_of(dtype);
  std::vector<std::byte> bytes(values.size() / elements_per_group(dtype) * bytes_per_group(dtype));
  kernels::encode_blocks(type, values, bytes);
  return bytes;
}

}  // namespace mote::checkpoint
