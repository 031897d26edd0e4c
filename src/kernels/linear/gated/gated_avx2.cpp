#include "kernels/linear/gated/gated_vector.h"

namespace mote::kernels {

void gated_avx2(const Gated& args, const Run&) {
  gated_vector<Avx2>(args);
}
void gated_backward_avx2(const GatedBackward& args, const Run&) {
  gated_backward_vector<Avx2>(args);
}

}  // namespace mote::kernels
