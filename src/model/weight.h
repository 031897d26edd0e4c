// A matrix, or a stack of E matrices, that can multiply, whatever its storage.
//
// Shapes are [out, in] or [E, out, in]. A stack multiplies rows sorted by expert, each row by the
// matrix of its expert. Packed weights are used where they lie; nothing is unpacked to run.
#pragma once

#include <memory>
#include <string>

#include "model/ops/routes.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model {

struct WeightShape {
  std::int64_t experts = 1, out = 0, in = 0;
  bool stacked = false;  // [E, out, in], else [out, in]
  std::int64_t count() const { return experts * out * in; }
  bool operator==(const WeightShape&) const = default;
};
std::string to_string(const WeightShape& shape);

class Weight {
 public:
  virtual ~Weight() = default;
  virtual const WeightShape& shape() const = 0;
  // y[R, out] = x[R, in] W^T (+ bias, for one dense matrix only); `routes` sorts the rows of a
  // stack and is null for one matrix. Leading dimensions of x are kept for one matrix.
  virtual Tensor multiply(const Tensor& x, const ops::SortedRoutes* routes, const Tensor& bias,
                          const Pass& pass) const = 0;
  // dx[R, in] = dy[R, out] W: the backward pass to the input.
  virtual Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                                     const Pass& pass) const = 0;
  // "f32", "ternary q16", ...
  virtual std::string storage() const = 0;
  // Every stored bit, offsets and levels included.
  virtual std::uint64_t bits() const = 0;
  // The matrix as a float32 tensor: the parameter itself for a dense weight, an unpacked copy for a
  // packed one.
  virtual Tensor to_dense() const = 0;
  // The trainable tensor; throws for a packed weight, naming it.
  virtual Tensor& parameter() = 0;
};
using WeightPtr = std::shared_ptr<Weight>;

WeightPtr make_dense_weight(Tensor value);

}  // namespace mote::model
