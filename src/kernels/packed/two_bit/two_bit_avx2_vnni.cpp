#include "kernels/packed/two_bit/two_bit_int8_vector.h"

namespace mote::kernels {

void two_bit_block_int8_avx2_vnni(const TwoBitBlock& block) {
  using S = BytesAvx2Vnni;
  int8_block<S, PlacedCodes<S>, DotSums<S>>(block);
}

}  // namespace mote::kernels
