#include "kernels/packed/q16/q16_int8_vector.h"
#include "kernels/packed/q16/q16_vector.h"

namespace mote::kernels {

void q16_block_avx512(const Q16Block& block) {
  block_of_any<Avx2, Avx512>(block);
}

void q16_lay_out_int8_avx512(const Q16Layout& to) {
  q16_lay_out_int8<Int8Avx512>(to);
}

void q16_block_int8_avx512(const Q16Block& block) {
  if (q16_int8_lanes(block.y.size(0)) == 16) return q16_block_int8_avx2(block);
  int8_block_of_tokens<WordsAvx512>(block);
}

void q16_block_to_input_avx512(const Q16Block& block) {
  to_input_of_any<Avx2, Avx512>(block);
}

}  // namespace mote::kernels
