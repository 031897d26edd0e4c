#include "kernels/sequence/attention/attention_vector.h"

namespace mote::kernels {

constexpr AttentionLoops kAttentionAvx512 = attention_loops<Avx512>();

}  // namespace mote::kernels
