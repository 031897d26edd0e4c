// The element types of GGUF: numbers in blocks of neighbours of one row that share scales.
//
// d, m and d_min are float16, little-endian like all else; a block lies at any address. q(j) is the
// code of element j, all arithmetic is float32 in the order written, so that values are exact.
// lo(b), hi(b): the lower and upper four bits of a byte.
//
//   F32, F16, BF16            one number each
//   Q4_0   32 in 18  d, qs[16]             q(j) = lo(qs[j]), q(j + 16) = hi(qs[j]); d (q - 8)
//   Q4_1   32 in 20  d, m, qs[16]          the same codes;                          d q + m
//   Q5_0   32 in 22  d, qh[4], qs[16]      bit 4 of q(j) is bit j of qh;            d (q - 16)
//   Q5_1   32 in 24  d, m, qh[4], qs[16]   the same codes;                          d q + m
//   Q8_0   32 in 34  d, qs[32]             signed bytes;                            q d
//   MXFP4  32 in 17  e, qs[16]             codes as Q4_0, a sign bit and one of 0 1 2 3 4 6 8 12;
//                                          2^(e - 128) times that
// Blocks of 256 have sixteen groups of 16, or eight of 32, with a scale s and a minimum each:
//   Q2_K   84   scales[16], qs[64], d, d_min   q(128 h + 32 k + i) = bits 2k, 2k + 1 of qs[32 h + i];
//                    group of 16: s = lo, min = hi of its scales byte;    (d s) q - (d_min min)
//   Q3_K   110  hmask[32], qs[64], scales[12], d   the codes of Q2_K, less 4 where bit 4h + k of
//                    hmask[i] is 0; s of group g has lower four bits lo(scales[g]) (g < 8) or
//                    hi(scales[g - 8]), upper two bits 2 (g / 4) of scales[8 + g % 4];
//                                                                         (d (s - 32)) q
//   Q4_K   144  d, d_min, scales[12], qs[128]   group p of 32: lo(qs[32 (p / 2) + i]) for even p, hi
//                    for odd; (s, min) for p < 4: the lower six bits of scales[p], scales[p + 4];
//                    else lo, hi of scales[p + 4] below the upper two bits of scales[p - 4],
//                    scales[p];                                           (d s) q - (d_min min)
//   Q5_K   176  d, d_min, scales[12], qh[32], qs[128]   as Q4_K; bit 4 of q is bit p of qh[i]
//   Q6_K   210  ql[128], qh[64], scales[16], d   q(128 h + 32 k + i): lower bits lo (k < 2) or hi of
//                    ql[64 h + 32 (k % 2) + i], upper two bits 2k of qh[32 h + i]; s signed;
//                                                                         (d s) (q - 32)
//   TQ1_0  54   qs[48], qh[4], d   base-3 digits, five in a byte, the first the most significant: qs[m]
//                    has elements m + 32 n, qs[32 + m] 160 + m + 16 n (n < 5), qh[m] 240 + m + 4 n
//                    (n < 4, then a 0); a number v is stored as ceil(256 v / 243), and digit n is
//                    (3 (byte 3^n mod 256)) >> 8;                         d (digit - 1)
//   TQ2_0  66   qs[64], d   the codes of Q2_K;                            d (q - 1)
//
// Encoding, of finite numbers: Q8_0 has d = max|x| / 127, codes x (1 / d) rounded half away from
// zero, then d rounded to float16. TQ1_0 and TQ2_0 have d = max|x| and digits of x (1 / d) + 1,
// rounded so too. What d rounds to must be finite in float16. Layouts and rounding are those of
// PyPI's gguf 0.19.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/core/view.h"

namespace mote::kernels {

struct BlockType {
  const char* name;
  std::uint32_t id;       // in GGUF
  Index elements, bytes;  // of one block
  void (*decode)(const std::byte* blocks, Index count, float* values);
  void (*encode)(const float* values, Index count, std::byte* blocks);  // null: none
  float most;  // the largest magnitude that is encoded; infinity: anything, NaN too
};

std::span<const BlockType> block_types();
// Null for what has no row.
const BlockType* find_block_type(std::uint32_t id);
const BlockType* find_block_type(std::string_view name);

// `values` and `blocks` hold the same whole number of blocks.
void decode_blocks(const BlockType& type, std::span<const std::byte> blocks,
                   std::span<float> values);
// Refuses a type that is not written, and numbers that no block holds.
void encode_blocks(const BlockType& type, std::span<const float> values,
                   std::span<std::byte> blocks);

// MXFP4 as gpt-oss's safetensors have it, codes apart from scales and byte b the codes of elements
// 2 b (lower four bits) and 2 b + 1: into blocks as above. 16 bytes of codes go with each scale.
void mxfp4_from_pairs(std::span<const std::byte> codes, std::span<const std::byte> scales,
                      std::span<std::byte> blocks);

}  // namespace mote::kernels
