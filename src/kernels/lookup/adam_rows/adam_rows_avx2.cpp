#include "kernels/lookup/adam_rows/adam_rows_vector.h"

namespace mote::kernels {

void adam_rows_avx2(const AdamRows& args, const Run&) {
  adam_rows_vector<NoisyAvx2>(args);
}
void move_rows_avx2(const MoveRows& args, const Run&) {
  move_rows_vector<NoisyAvx2>(args);
}

}  // namespace mote::kernels
