#include "kernels/packed/q16/q16_int8_vector.h"
#include "kernels/packed/q16/q16_vector.h"

namespace mote::kernels {

void q16_block_avx2(const Q16Block& block) {
  block_of_any<Avx2, TwoOf<Avx2>>(block);
}

void q16_lay_out_int8_avx2(const Q16Layout& to) {
  q16_lay_out_int8<Int8Avx2>(to);
}

void q16_block_int8_avx2(const Q16Block& block) {
  q16_int8_block<WordsAvx2<1>, WordsAvx2<2>>(block);
}

void q16_block_to_input_avx2(const Q16Block& block) {
  to_input_of_any<Avx2, TwoOf<Avx2>>(block);
}

}  // namespace mote::kernels
