#include "kernels/packed/rounding/rounding_vector.h"

namespace mote::kernels {

void round_row_avx512(const RoundRow& row) {
  round_row<RoundingAvx512>(row);
}

void gptq_block_avx512(const GptqBlock& block) {
  gptq_block<RoundingAvx512>(block);
}

}  // namespace mote::kernels
