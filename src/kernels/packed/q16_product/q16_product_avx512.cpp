#include "kernels/packed/q16_product/q16_product_vector.h"

namespace mote::kernels {

void q16_block_avx512(const Q16Block& block) {
  block_of_any<Avx2, Avx512>(block);
}

void q16_block_to_input_avx512(const Q16BlockToInput& block) {
  to_input_of_any<Avx2, Avx512>(block);
}

}  // namespace mote::kernels
