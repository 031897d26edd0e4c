#include "kernels/packed/two_bit/two_bit_int8_vector.h"
#include "kernels/packed/two_bit/two_bit_vector.h"

namespace mote::kernels {

void two_bit_block_avx512(const TwoBitBlock& block) {
  two_bit_block<TwoBitAvx512>(block);
}

void two_bit_lay_out_int8_avx512(const TwoBitLayout& to) {
  lay_out_int8<BytesAvx512>(to);
}

void two_bit_block_int8_avx512(const TwoBitBlock& block) {
  int8_block<BytesAvx512, MaskedCodes<BytesAvx512>, PairSums<BytesAvx512>>(block);
}

void two_bit_block_to_input_avx512(const TwoBitBlock& block) {
  two_bit_to_input<TwoBitAvx512>(block);
}

}  // namespace mote::kernels
