// What travels through the layers of a model with the rows: what came before them, what routers
// read, and what they leave for the loss.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "checkpoint/router_config.h"
#include "model/cache.h"
#include "model/memory.h"
#include "model/pass.h"

namespace mote::model {

// What a router leaves for its penalties, which are finished after the stack. Tensors that none of
// them reads are undefined.
struct RoutingStatistics {
  std::string layer;
  Tensor log_mean_p_E;  // logarithm of the mean over tokens of softmax(scores), with its gradient
  double entropy_weight = 0;
  std::vector<checkpoint::BalanceConfig> balance = {};
  // Of a group of tokens, one or, of losses of sequences, one for each of these:
  Tensor share_GE = {};      // of the tokens that selected expert e; capacity not considered
  Tensor mean_p_GE = {};     // the mean of softmax(scores), with its gradient
  Tensor importance_E = {};  // sums of gates
  Tensor load_E = {};        // expected numbers of tokens (routing/balance.h)
  Tensor square_z = {};      // mean over tokens of (ln sum_e exp z_e)^2
};

struct ForwardState {
  explicit ForwardState(const Pass& p) : pass(p) {}

  const Pass& pass;
  // What attention sees of the past: the residual stream in training, projected keys and values
  // elsewhere; at most one of them.
  Memory* memory = nullptr;
  // One for all sequences, or one for each, which then may stand at different positions.
  c10::SmallVector<Cache*, 8> caches;
  // Rows are tokens, sequence by sequence: row n is token n of ids_BT, and sequence b has the rows
  // [b * T, (b + 1) * T).
  Tensor ids_BT;
  Tensor padding_N;     // true where a row is padding; undefined: none is
  Tensor router_state;  // handed from layer to layer by routers that need it, opaque to the others
  // What the stack at work adds to scores by distance (layers/position_bias.h); undefined: nothing.
  Tensor position_bias_HD;
  // int32: how many of each sequence's tokens an encoder's attention sees; undefined: all.
  Tensor lengths_B;
  // What an encoder made of the source, and how many positions of it count, for cross attention; undefined
  // where the cache holds its keys and values.
  Tensor source_BSD, source_lengths_B;
  std::vector<RoutingStatistics> routing;
  // Running statistics that a training step moves; called once its loss is known to be finite.
  std::vector<std::function<void()>> commits;
};

// x of the sequences [first, first + count).
inline Tensor of_sequences(const Tensor& x_B, std::int64_t first, std::int64_t count) {
  return count == x_B.size(0) ? x_B : x_B.narrow(0, first, count);
}

// What of(cache, first, count) gives for each cache and those of all `sequences` that are its own, one
// after another.
template <class Of>
Tensor for_each_cache(const ForwardState& state, std::int64_t sequences, const Of& of) {
  MOTE_CHECK(!state.caches.empty(), "a pass that attends to a past has no cache of it");
  if (state.caches.size() == 1) return of(*state.caches[0], std::int64_t{0}, sequences);
  MOTE_CHECK(sequences == static_cast<std::int64_t>(state.caches.size()), "there are ",
             state.caches.size(), " caches for ", sequences, " sequences");
  std::vector<Tensor> each;
  for (std::int64_t b = 0; b < sequences; ++b)
    each.push_back(of(*state.caches[static_cast<std::size_t>(b)], b, std::int64_t{1}));
  return torch::cat(each);
}

// The sum of all penalties, weights included; undefined where there is none.
//   entropy     sum_e p_e ln p_e,  p_e the mean over tokens of softmax(scores)
//   switch      E sum_e share_e p_e, or the mean of it over sequences; the published program:
//               1 / E sum_e share_e / (sum of shares) p_e;
//               of_all_layers: once, of the means over layers of shares and p
//   importance  standard deviation / mean over experts of the sums of gates, or its square
//   load        the same of the expected numbers of tokens
//   z           mean over tokens of (ln sum_e exp z_e)^2
Tensor penalties(const ForwardState& state);

// log p_e for scores [N, E], N > 0, finite for any finite scores.
Tensor log_mean_probability(const Tensor& scores_NE);

}  // namespace mote::model
