#include "kernels/packed/block_rows/block_rows_lay_out.h"
#include "kernels/packed/block_rows/block_rows_vector.h"

namespace mote::kernels {

void block_rows_lay_out_int8_avx2(const BlockRowsLayout& to) {
  lay_out_int8<Int8Avx2>(to);
}

void block_rows_block_avx2(const BlockRowsBlock& block) {
  block_rows_float<WordsAvx2>(block);
}

void block_rows_block_int8_avx2(const BlockRowsBlock& block) {
  block_rows_int8<DotsAvx2>(block);
}

}  // namespace mote::kernels
