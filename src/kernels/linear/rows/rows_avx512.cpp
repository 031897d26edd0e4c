#include "kernels/linear/rows/rows_vector.h"

namespace mote::kernels {

void combine_rows_avx512(const CombineRows& args, const Run&) {
  combine_rows_vector<Avx512>(args);
}
void relu_backward_rows_avx512(const ReluBackwardRows& args, const Run&) {
  relu_backward_rows_vector<Avx512>(args);
}

}  // namespace mote::kernels
