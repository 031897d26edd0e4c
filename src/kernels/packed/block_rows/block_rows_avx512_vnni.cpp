#include "kernels/packed/block_rows/block_rows_vector.h"

namespace mote::kernels {

void block_rows_block_int8_avx512_vnni(const BlockRowsBlock& block) {
  block_rows_int8<DotsAvx512Vnni>(block);
}

}  // namespace mote::kernels
