// The tensors of a model by name: one walk over the model serves initialisation, counting,
// optimising, saving and loading.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/weight.h"

namespace mote::model {

// How a tensor starts.
struct Init {
  enum class Kind {
    zeros,
    ones,
    constant,
    normal,
    exact_normal,
    uniform,
    row_normalized
  } kind = Kind::zeros;
  // constant: the value; normal, row_normalized: the standard deviation; exact_normal: the unbiased
  // standard deviation that the values have, cut at +-2 before scaling; uniform: the bound.
  double value = 0;
};

// Called for every tensor: matrices that may be packed, and everything else.
class ParameterVisitor {
 public:
  virtual ~ParameterVisitor() = default;
  virtual void matrix(const std::string& name, WeightPtr& weight, const WeightShape& shape,
                      const Init& init) = 0;
  virtual void tensor(const std::string& name, Tensor& value,
                      const std::vector<std::int64_t>& shape, const Init& init) = 0;
};

// float32 values of `shape`, drawn with a key of (seed, name).
Tensor initial_values(const std::vector<std::int64_t>& shape, const Init& init,
                      const std::string& name, std::uint64_t seed);

// Rows of equal norm, the unbiased standard deviation of all entries kept (specs/sparse-ffn 2.4).
Tensor normalize_rows(const Tensor& w);

}  // namespace mote::model
