#include "kernels/sequence/rotary/rotary_vector.h"

namespace mote::kernels {

void rotary_avx2(const Rotary& args, const Run&) {
  rotary_vector<Avx2>(args);
}

}  // namespace mote::kernels
