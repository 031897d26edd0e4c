#include "kernels/packed/two_bit/two_bit_int8_vector.h"
#include "kernels/packed/two_bit/two_bit_vector.h"

namespace mote::kernels {

void two_bit_block_avx2(const TwoBitBlock& block) {
  two_bit_block<TwoBitAvx2>(block);
}

void two_bit_lay_out_int8_avx2(const TwoBitLayout& to) {
  lay_out_int8<BytesAvx2>(to);
}

void two_bit_block_int8_avx2(const TwoBitBlock& block) {
  int8_block<BytesAvx2, MaskedCodes<BytesAvx2>, PairSums<BytesAvx2>>(block);
}

void two_bit_block_to_input_avx2(const TwoBitBlock& block) {
  two_bit_to_input<TwoBitAvx2>(block);
}

}  // namespace mote::kernels
