#include "kernels/packed/block_rows/block_rows_vector.h"

namespace mote::kernels {

void block_rows_block_int8_avx2_vnni(const BlockRowsBlock& block) {
  block_rows_int8<DotsAvx2Vnni>(block);
}

}  // namespace mote::kernels
