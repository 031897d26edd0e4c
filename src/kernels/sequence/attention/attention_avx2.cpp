#include "kernels/sequence/attention/attention_vector.h"

namespace mote::kernels {

constexpr AttentionLoops kAttentionAvx2 = attention_loops<Avx2>();

}  // namespace mote::kernels
