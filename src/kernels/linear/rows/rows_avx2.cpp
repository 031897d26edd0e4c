#include "kernels/linear/rows/rows_vector.h"

namespace mote::kernels {

void combine_rows_avx2(const CombineRows& args, const Run&) {
  combine_rows_vector<Avx2>(args);
}
void relu_backward_rows_avx2(const ReluBackwardRows& args, const Run&) {
  relu_backward_rows_vector<Avx2>(args);
}

}  // namespace mote::kernels
