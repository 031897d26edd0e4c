#include "kernels/routing/topk/topk_vector.h"

namespace mote::kernels {

void topk_avx512(const Topk& args, const Run& run) {
  topk_vector<RankAvx512>(args, run);
}

}  // namespace mote::kernels
