#include "kernels/packed/two_bit_product/two_bit_product_vector.h"

namespace mote::kernels {

void two_bit_block_avx512(const TwoBitBlock& block) {
  product_block<TwoBitAvx512>(block);
}

void two_bit_block_to_input_avx512(const TwoBitBlockToInput& block) {
  to_input_block<TwoBitAvx512>(block);
}

}  // namespace mote::kernels
