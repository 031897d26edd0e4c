#include "kernels/sequence/norm/norm_vector.h"

namespace mote::kernels {

void layer_norm_avx2(const LayerNorm& args, const Run&) {
  layer_norm_vector<Avx2>(args);
}
void layer_norm_backward_avx2(const LayerNormBackward& args, const Run&) {
  layer_norm_backward_vector<Avx2>(args);
}

}  // namespace mote::kernels
