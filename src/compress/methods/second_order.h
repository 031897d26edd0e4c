// Error-corrected rounding (GPTQ, arXiv 2210.17323), batched over experts as in QMoE (arXiv
// 2310.16795, section 3; specs/qmoe 2.3).
//
//   H~ = H + damp I,  damp = max(damping * mean(diag H), 1e-6),  H = (n/2) sum x x^T;  H~^-1 = U^T
//   U
// then column by column as kernels/packed/rounding says. Scaling H changes nothing but the floor of
// the damping. An expert without calibration rows, or whose H is not finite or not positive
// definite after damping, gets H = identity: rounding to nearest, with the others untouched.
#pragma once

#include "compress/methods/method.h"

namespace mote::compress {

class SecondOrder final : public Method {
 public:
  explicit SecondOrder(const MethodOptions& options) : options_(options) {}
  bool needs_statistics() const override { return true; }
  MethodResult compress(const model::Weight& weight, const Statistics& statistics,
                        const std::string& name, const model::Pass& pass) const override;

 private:
  const MethodOptions options_;
};

// The upper factors U [E, I, I] of the damped inverses, and which experts' moments were usable.
struct InverseFactors {
  Tensor u_EII;
  std::vector<char> usable;  // 0 or 1, per expert
};
InverseFactors inverse_factors(const Statistics& statistics, double damping,
                               const model::Pass& pass);

}  // namespace mote::compress
