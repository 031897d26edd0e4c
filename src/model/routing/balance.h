// What a router leaves for the losses that its config has (model/forward_state.h): of raw scores, before
// noise is added, and of the selection before capacity drops rows.
//
//   share        of the tokens that selected e; with dropped_as_first rows that capacity dropped are
//                those of expert 0
//   importance   sum of the gates of e
//   load         sum over tokens of the probability that e is among the K largest when its noise is
//                drawn anew: Phi((z_e - t_e) / s_e), s_e the noise's standard deviation, t_e the K-th
//                largest of the other noisy scores (arXiv 1701.06538, appendix A)
#pragma once

#include "model/forward_state.h"
#include "model/routing/selection.h"

namespace mote::model {

struct Routed {
  const Tensor &scores_NE, &noisy_NE, &noise_std_NE;  // the last one undefined: there is none
  const Selection& selected;
  const Tensor& gate_R;
  const ops::Assignment& within_capacity;
  std::int64_t sequence;  // tokens of one
};

// Of at least one token.
RoutingStatistics routing_statistics(const std::string& layer,
                                     const checkpoint::RouterConfig& config, const Routed& routed,
                                     const Pass& pass);

}  // namespace mote::model
