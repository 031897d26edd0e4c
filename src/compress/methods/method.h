// How the matrices of a layer's experts become packed ones: (weights, statistics, budget) -> packed
// weights, error.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fields.h"
#include "model/pass.h"
#include "model/weight.h"

namespace mote::compress {

enum class Bits { ternary, two };
enum class MethodKind { gptq, rtn };

// What calibration saw of the inputs of one stack of matrices (one matrix: a stack of one).
struct Statistics {
  Tensor second_moments_EII;  // sum of x x^T over the calibration rows of each expert; undefined:
                              // not wanted, or never seen
  std::vector<std::int64_t> tokens;  // rows that were counted, per expert
};

struct MethodOptions {
  Bits bits = Bits::ternary;
  double damping = 0.1;    // of the mean diagonal of the second moments
  bool act_order = false;  // round the inputs with the largest moments first
  bool search_clip =
      false;  // choose each row's levels by the error they cause, not by its extremes
};

struct MethodResult {
  model::WeightPtr weight;
  double error = 0;  // gptq: sum of (w - q) H (w - q)^T with damped moments; rtn: of |w - q|^2
  std::int64_t zeros = 0;   // weights that became 0
  double entropy_bits = 0;  // sum over matrices of count * entropy of their symbols
  // Per matrix of the stack, 0 or 1: whether its own statistics were used; the others were rounded
  // to nearest.
  std::vector<char> calibrated_E;
};

class Method {
 public:
  virtual ~Method() = default;
  // Whether compress() reads second moments.
  virtual bool needs_statistics() const = 0;
  // One matrix or a stack; `name` is its own, for errors. Deterministic for any number of threads.
  virtual MethodResult compress(const model::Weight& weight, const Statistics& statistics,
                                const std::string& name, const model::Pass& pass) const = 0;
};

std::unique_ptr<Method> make_method(MethodKind kind, const MethodOptions& options);

}  // namespace mote::compress

template <>
struct mote::EnumNames<mote::compress::Bits> {
  static constexpr std::array names{"ternary", "2"};
};
template <>
struct mote::EnumNames<mote::compress::MethodKind> {
  static constexpr std::array names{"gptq", "rtn"};
};
