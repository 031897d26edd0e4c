#include "kernels/sequence/softmax/softmax_vector.h"

namespace mote::kernels {

void softmax_row_avx2(const SoftmaxRow& args, const Run&) {
  softmax_row_vector<Avx2>(args);
}
void softmax_backward_row_avx2(const SoftmaxBackwardRow& args, const Run&) {
  softmax_backward_row_vector<Avx2>(args);
}

}  // namespace mote::kernels
