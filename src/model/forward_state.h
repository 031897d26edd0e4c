// What travels through the layers of a model with the rows: what came before them, what routers
// read, and what they leave for the loss.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/cache.h"
#include "model/memory.h"
#include "model/pass.h"

namespace mote::model {

// What a router leaves for its penalties, which are finished after the stack.
struct RoutingStatistics {
  std::string layer;
  Tensor log_mean_p_E;  // logarithm of the mean over tokens of softmax(scores), with its gradient
  double entropy_weight = 0;
};

struct ForwardState {
  explicit ForwardState(const Pass& p) : pass(p) {}

  const Pass& pass;
  // What attention sees of the past: the residual stream in training, projected keys and values
  // elsewhere; at most one of them.
  Memory* memory = nullptr;
  Cache* cache = nullptr;
  // Rows are tokens, sequence by sequence: row n is token n of ids_BT, and sequence b has the rows
  // [b * T, (b + 1) * T).
  Tensor ids_BT;
  Tensor padding_N;     // true where a row is padding; undefined: none is
  Tensor router_state;  // handed from layer to layer by routers that need it, opaque to the others
  std::vector<RoutingStatistics> routing;
  // Running statistics that a training step moves; called once its loss is known to be finite.
  std::vector<std::function<void()>> commits;
};

// The sum of all penalties, weights included; undefined where there is none.
//   entropy   weight * sum_e p_e ln p_e,  p_e the mean over tokens of softmax(scores)
Tensor penalties(const ForwardState& state);

// log p_e for scores [N, E], N > 0, finite for any finite scores.
Tensor log_mean_probability(const Tensor& scores_NE);

}  // namespace mote::model
