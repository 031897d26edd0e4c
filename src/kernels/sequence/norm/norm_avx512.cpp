#include "kernels/sequence/norm/norm_vector.h"

namespace mote::kernels {

void layer_norm_avx512(const LayerNorm& args, const Run&) {
  layer_norm_vector<Avx512>(args);
}
void layer_norm_backward_avx512(const LayerNormBackward& args, const Run&) {
  layer_norm_backward_vector<Avx512>(args);
}

}  // namespace mote::kernels
