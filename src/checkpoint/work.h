// What a token costs, from a model's config: multiply-adds of products with matrices, keys, rows of
// tables and, of attention, with the keys and values that are seen. Norms, softmax, gates, sums over
// experts, dropout and the optimiser are not counted. FLOPs are twice that.
//
// Per token, L layers of width d, V tokens in the vocabulary:
//   attention     projections; I (2 + [relative]) for each key seen, I = heads * head_dim of queries
//                 latent: from and to the ranks; I for the scores, heads * value_dim for the values
//   dense, topk   2 d f, gated 3 d f         (all hidden units are computed before some are kept)
//   mixture       scores + K (r + d) G [+ d r]   r = d, or the rank of keys; gated: 3 K d G; the
//                 shared expert as a dense layer
//                 scores: d E, recurrent d P + 6 P^2 + P E, avg_k r E, hash 0; learned noise d E more
//   product_key   query + h n C + h k d     C the width of both halves of a key, n = sqrt(N)
//                 dense_head_sum: N d for h k d; gated output: 2 d d more
//   peer          query + h n C + 2 h k d   query: d h C where it is linear; gated: 3 h k d
// (what capacity drops is counted, as if it were not)
//   cross attention   queries and outputs 2 d I, and I (1 + 1) for each of S positions of the source,
//                 of which keys and values are 2 d I each
// Of an encoder-decoder a token is one of the target, with its share of the source: S / T of its tokens.
//   head          V d
// `forward` is a training step's forward pass divided by its tokens, the memory of Transformer-XL
// full and projected again as training does; `training` adds the backward pass, which makes the
// scores of attention once more and follows only the keys that were picked.
#pragma once

#include "checkpoint/model_config.h"

namespace mote::checkpoint {

struct MultiplyAdds {
  double attention = 0, feed_forward = 0, head = 0;
  double total() const { return attention + feed_forward + head; }
};

struct Work {
  MultiplyAdds forward, training;  // per token

  double forward_flops() const { return 2 * forward.total(); }
  double training_flops() const { return 2 * training.total(); }
};

// Of a step of `streams` sequences of config.context tokens. `config` is valid, its vocab_size set.
Work work_of(const ModelConfig& config, std::int64_t streams);

}  // namespace mote::checkpoint
