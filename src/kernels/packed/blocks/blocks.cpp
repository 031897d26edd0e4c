#include "kernels/packed/blocks/blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/packed/blocks/block_bytes.h"

namespace mote::kernels {
namespace {

constexpr float kAny = std::numeric_limits<float>::infinity();
constexpr float kMostF16 = 65504;

constexpr BlockType kTypes[] = {
    read_and_written<1, 4, decode_f32, encode_f32>("F32", 0, kAny),
    read_and_written<1, 2, decode_f16, encode_f16>("F16", 1, kMostF16),
    read_only<32, 18, decode_q4_0>("Q4_0", 2),
    read_only<32, 20, decode_q4_1>("Q4_1", 3),
    read_only<32, 22, decode_q5_0>("Q5_0", 6),
    read_only<32, 24, decode_q5_1>("Q5_1", 7),
    read_and_written<32, 34, decode_q8_0, encode_q8_0>("Q8_0", 8, 127 * kMostF16),
    read_only<256, 84, decode_q2_k>("Q2_K", 10),
    read_only<256, 110, decode_q3_k>("Q3_K", 11),
    read_only<256, 144, decode_q4_k>("Q4_K", 12),
    read_only<256, 176, decode_q5_k>("Q5_K", 13),
    read_only<256, 210, decode_q6_k>("Q6_K", 14),
    read_and_written<1, 2, decode_bf16, encode_bf16>("BF16", 30, kAny),
    read_and_written<256, 54, decode_tq1_0, encode_tq1_0>("TQ1_0", 34, kMostF16),
    read_and_written<256, 66, decode_tq2_0, encode_tq2_0>("TQ2_0", 35, kMostF16),
    read_only<32, 17, decode_mxfp4>("MXFP4", 39),
};

// How many blocks there are, where values and bytes agree about it.
Index count_of(const BlockType& type, std::size_t values, std::size_t bytes) {
  const auto n = static_cast<Index>(values), size = static_cast<Index>(bytes);
  MOTE_CHECK(n % type.elements == 0, type.name, ": ", n,
             " values are no whole number of blocks of ", type.elements);
  MOTE_CHECK(size == n / type.elements * type.bytes, type.name, ": ", n, " values take ",
             n / type.elements * type.bytes, " bytes, not ", size);
  return n / type.elements;
}

}  // namespace

std::span<const BlockType> block_types() {
  return kTypes;
}

const BlockType* find_block_type(std::uint32_t id) {
  for (const BlockType& type : kTypes)
    if (type.id == id) return &type;
  return nullptr;
}

const BlockType* find_block_type(std::string_view name) {
  for (const BlockType& type : kTypes)
    if (name == type.name) return &type;
  return nullptr;
}

void decode_blocks(const BlockType& type, std::span<const std::byte> blocks,
                   std::span<float> values) {
  type.decode(blocks.data(), count_of(type, values.size(), blocks.size()), values.data());
}

void encode_blocks(const BlockType& type, std::span<const float> values,
                   std::span<std::byte> blocks) {
  const Index count = count_of(type, values.size(), blocks.size());
  MOTE_CHECK(type.encode != nullptr, type.name,
             " is read and not written; write F32, F16, BF16, Q8_0, TQ1_0 or TQ2_0");
  for (const float value : values)
    MOTE_CHECK(type.most == kAny || std::abs(value) <= type.most, type.name, ": the value ", value,
               " is beyond ", type.most, ", the most that it holds; write F32 or BF16");
  type.encode(values.data(), count, blocks.data());
}

void mxfp4_from_pairs(std::span<const std::byte> codes, std::span<const std::byte> scales,
                      std::span<std::byte> blocks) {
  MOTE_CHECK(codes.size() == 16 * scales.size() && blocks.size() == 17 * scales.size(),
             "mxfp4_from_pairs: ", scales.size(), " scales, ", codes.size(), " bytes of codes and ",
             blocks.size(), " of blocks; there are 16 and 17 for each scale");
  for (std::size_t s = 0; s < scales.size(); ++s) {
    const std::byte* pairs = codes.data() + 16 * s;
    std::byte* block = blocks.data() + 17 * s;
    block[0] = scales[s];
    for (std::size_t j = 0; j < 16; ++j) {
      const auto code = [&](std::size_t element) {
        const std::byte pair = pairs[element / 2];
        return element % 2 == 0 ? pair & std::byte{15} : pair >> 4;
      };
      block[1 + j] = code(j) | code(j + 16) << 4;
    }
  }
}

}  // namespace mote::kernels
