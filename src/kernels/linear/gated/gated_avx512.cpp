#include "kernels/linear/gated/gated_vector.h"

namespace mote::kernels {

void gated_avx512(const Gated& args, const Run&) {
  gated_vector<Avx512>(args);
}
void gated_backward_avx512(const GatedBackward& args, const Run&) {
  gated_backward_vector<Avx512>(args);
}

}  // namespace mote::kernels
