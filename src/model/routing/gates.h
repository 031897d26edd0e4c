// Gates: the weights of the selected experts' outputs.
//
//   sigmoid          sigma(z_e)
//   softmax_before   softmax over all E scores, of which the selected ones are taken
//   softmax_after    softmax over the selected scores of the token
//   sparsemax        the nearest point of the simplex to z (arXiv 1602.02068), of which ...
//   one              1
// times 0 where an expert is hidden from a token, then divided by their sum over the token where that
// is wished for (a sum of 0 stays 0), then times gate_scale. Of a sparse mixer the k-th gate is softmax
// over the experts near the k-th score that were not selected before it.
#pragma once

#include "checkpoint/router_config.h"
#include "model/routing/selection.h"

namespace mote::model {

// Gates of the rows of `selected` from scores [N, E], differentiable in them; keep_NE: 1 and 0, or
// undefined. softmax_after and dividing want tokens that have equally many rows.
Tensor gates(const checkpoint::RouterConfig& router, const Tensor& scores_NE, const Tensor& keep_NE,
             const Selection& selected, const Pass& pass);

// Of every expert, selected or not; not for softmax_after.
Tensor gates_of_all(checkpoint::Gate gate, const Tensor& scores_NE);

Tensor sparsemax(const Tensor& scores_NE);

}  // namespace mote::model
