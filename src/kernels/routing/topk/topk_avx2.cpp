#include "kernels/routing/topk/topk_vector.h"

namespace mote::kernels {

void topk_avx2(const Topk& args, const Run& run) {
  topk_vector<RankAvx2>(args, run);
}

}  // namespace mote::kernels
