#include "kernels/lookup/best_keys/best_keys_vector.h"

namespace mote::kernels {

void lay_out_keys_avx512(const LayOutKeys& args, const Run&) {
  lay_out_keys<CodesAvx512>(args);
}
void best_keys_avx512(const BestKeys& args, const Run&) {
  best_keys<CodesAvx512>(args);
}

}  // namespace mote::kernels
