#include "kernels/sequence/softmax/softmax_vector.h"

namespace mote::kernels {

void softmax_row_avx512(const SoftmaxRow& args, const Run&) {
  softmax_row_vector<Avx512>(args);
}
void softmax_backward_row_avx512(const SoftmaxBackwardRow& args, const Run&) {
  softmax_backward_row_vector<Avx512>(args);
}

}  // namespace mote::kernels
