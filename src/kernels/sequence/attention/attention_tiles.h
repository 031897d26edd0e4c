// Attention in tiles of queries and blocks of keys, for any instruction set with vector loops.
#pragma once

#include "kernels/sequence/attention/attention.h"
#include "kernels/sequence/attention/attention_loops.h"

namespace mote::kernels {

void attention_in_tiles(const Attention& args, const Run& run, const AttentionLoops& loops);
void attention_backward_in_tiles(const AttentionBackward& args, const Run& run,
                                 const AttentionLoops& loops);

template <class T>
T* row_at(const View<T, 4>& x, Index b, Index t, Index h) {
  return x.data + b * x.stride(0) + t * x.stride(1) + h * x.stride(2);
}
// What query t of sequence b sees of the keys that there are.
KeyRange seen_keys(const Attention& args, Index b, Index t);
// How far query 0 of sequence b is behind key 0.
Index standing(const Attention& args, Index b);

}  // namespace mote::kernels
