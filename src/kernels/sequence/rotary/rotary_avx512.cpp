#include "kernels/sequence/rotary/rotary_vector.h"

namespace mote::kernels {

void rotary_avx512(const Rotary& args, const Run&) {
  rotary_vector<Avx512>(args);
}

}  // namespace mote::kernels
