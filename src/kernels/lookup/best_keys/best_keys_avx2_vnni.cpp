#include "kernels/lookup/best_keys/best_keys_vector.h"

namespace mote::kernels {

void lay_out_keys_avx2_vnni(const LayOutKeys& args, const Run&) {
  lay_out_keys<CodesAvx2Vnni>(args);
}
void best_keys_avx2_vnni(const BestKeys& args, const Run&) {
  best_keys<CodesAvx2Vnni>(args);
}

}  // namespace mote::kernels
