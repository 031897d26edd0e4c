#include "kernels/packed/blocks/block_bytes.h"

namespace mote::kernels {

void decode_f32(const std::byte* p, float* x) {
  std::memcpy(x, p, sizeof *x);
}

void decode_f16(const std::byte* p, float* x) {
  *x = f16_at(p);
}

void decode_bf16(const std::byte* p, float* x) {
  Bf16 bits;
  std::memcpy(&bits, p, sizeof bits);
  *x = from_bf16(bits);
}

void encode_f32(const float* x, std::byte* p) {
  std::memcpy(p, x, sizeof *x);
}

void encode_f16(const float* x, std::byte* p) {
  put_f16(*x, p);
}

void encode_bf16(const float* x, std::byte* p) {
  const Bf16 bits = to_bf16(*x);
  std::memcpy(p, &bits, sizeof bits);
}

}  // namespace mote::kernels
