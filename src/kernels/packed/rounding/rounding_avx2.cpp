#include "kernels/packed/rounding/rounding_vector.h"

namespace mote::kernels {

void round_row_avx2(const RoundRow& row) {
  round_row<RoundingAvx2>(row);
}

void gptq_block_avx2(const GptqBlock& block) {
  gptq_block<RoundingAvx2>(block);
}

}  // namespace mote::kernels
