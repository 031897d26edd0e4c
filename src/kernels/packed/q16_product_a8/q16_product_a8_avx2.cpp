#include "kernels/packed/q16_product_a8/q16_product_a8_vector.h"

namespace mote::kernels {

void q16_a8_block_avx2(const Q16A8Block& block) {
  a8_block<WordsAvx2>(block);
}

}  // namespace mote::kernels
