#include "kernels/packed/q16_product_a8/q16_product_a8_vector.h"

namespace mote::kernels {

void q16_a8_block_avx512(const Q16A8Block& block) {
  a8_block<WordsAvx512>(block);
}

}  // namespace mote::kernels
