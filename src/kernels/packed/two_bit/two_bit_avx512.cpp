#include "kernels/packed/two_bit/two_bit_vector.h"

namespace mote::kernels {

void two_bit_block_avx512(const TwoBitBlock& block) {
  two_bit_block<TwoBitAvx512>(block);
}

void two_bit_block_to_input_avx512(const TwoBitBlock& block) {
  two_bit_to_input<TwoBitAvx512>(block);
}

}  // namespace mote::kernels
