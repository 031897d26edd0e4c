#include "kernels/lookup/adam_rows/adam_rows_vector.h"

namespace mote::kernels {

void adam_rows_avx512(const AdamRows& args, const Run&) {
  adam_rows_vector<NoisyAvx512>(args);
}
void move_rows_avx512(const MoveRows& args, const Run&) {
  move_rows_vector<NoisyAvx512>(args);
}

}  // namespace mote::kernels
