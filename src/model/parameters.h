// The tensors of a model by name: one walk over the model serves initialising, counting,
// optimising, saving, loading, listing and testing. There is no second list of shapes.
#pragma once

#include <string>
#include <vector>

#include "base/parallel.h"
#include "model/row_table.h"
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
  // Drawn as part of a larger tensor of the name `of`: every `parts`-th group of `group` rows of
  // it, from group number `part` on. Empty: drawn alone.
  std::string of = {};
  std::int64_t group = 0, part = 0, parts = 1;
};

// What a parameter is to those who walk: a matrix (or a stack) that multiplies and may be stored
// packed; a tensor; a table that is read and updated by rows; a buffer, which is saved but not
// trained.
enum class Role { matrix, tensor, table, buffer };

struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;  // a matrix: [out, in]; a stack: [experts, out, in]
  Init init = {};
  Role role = Role::tensor;
  bool trainable = true;
  // Share of it that one token uses: K / E for the matrices of E experts.
  double active = 1;

  std::int64_t count() const;
};

// Called for every parameter, with the place that holds it.
class ParameterVisitor {
 public:
  virtual ~ParameterVisitor() = default;
  virtual void matrix(const Parameter& parameter, WeightPtr& weight) = 0;
  virtual void tensor(const Parameter& parameter, Tensor& value) = 0;  // role tensor or buffer
  // A walk that cannot deal with tables refuses them by name.
  virtual void table(const Parameter& parameter, RowTablePtr& table);
};

WeightShape weight_shape(const Parameter& matrix);

// float32 values of `shape`, drawn with a key of (seed, name; or init.of), the same for any number of
// threads.
Tensor initial_values(const std::vector<std::int64_t>& shape, const Init& init,
                      const std::string& name, std::uint64_t seed,
                      const Executor& executor = serial());

// Rows of equal norm, the unbiased standard deviation of all entries kept (specs/sparse-ffn 2.4).
Tensor normalize_rows(const Tensor& w);

}  // namespace mote::model
