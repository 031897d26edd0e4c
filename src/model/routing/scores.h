// What experts are scored by: z [N, E] in float32 from the rows of a layer.
//
//   linear      z = W x (+ b)
//   recurrent   z = G h,  h = cell(P x, h of the layer before)      (specs/related 2)
//   avg_k       z_e = <mean over the rows of up_e, x>               (specs/related 3)
#pragma once

#include <memory>

#include "model/banks/matrices.h"
#include "model/forward_state.h"

namespace mote::model {

class Scorer {
 public:
  virtual ~Scorer() = default;
  // `pass`: the state's, in float32.
  virtual Tensor score(const Tensor& x_ND, const MatrixBank& bank, const Pass& pass,
                       ForwardState& state) const = 0;
  virtual void visit(const std::string& name, const MatrixBank& bank,
                     ParameterVisitor& visitor) = 0;
};

// Null for a score that is none (hash). `init_scale` is a factor of the initial variances.
std::unique_ptr<Scorer> make_scorer(const checkpoint::ScoreConfig& config, std::int64_t experts,
                                    double init_scale, const LayerPlace& place);

}  // namespace mote::model
