#include "kernels/packed/block_rows/block_rows_lay_out.h"
#include "kernels/packed/block_rows/block_rows_vector.h"

namespace mote::kernels {

void block_rows_lay_out_int8_avx512(const BlockRowsLayout& to) {
  lay_out_int8<Int8Avx512>(to);
}

void block_rows_block_avx512(const BlockRowsBlock& block) {
  block_rows_float<WordsAvx512>(block);
}

}  // namespace mote::kernels
