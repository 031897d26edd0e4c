#include "kernels/loss/cross_entropy/cross_entropy_vector.h"

namespace mote::kernels {

void cross_entropy_row_avx2(const CrossEntropyRow& args, const Run&) {
  cross_entropy_row_vector<Avx2>(args);
}

}  // namespace mote::kernels
