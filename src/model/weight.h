// A matrix, or a stack of them for E experts, that multiplies, whatever its storage. Packed weights
// are used where they lie; nothing is unpacked to run.
//
// The products here record no gradient: ops/product.h makes them differentiable, for every storage
// alike.
#pragma once

#include <memory>
#include <string>
#include <vector>

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
  // One matrix: y [..., out] = x [..., in] W^T (+ bias [out], or undefined), then the activation.
  virtual Tensor multiply(const Tensor& x, const Tensor& bias, kernels::Activation activation,
                          const Pass& pass) const = 0;
  // A stack: y [R, out] in sorted order, row r by the matrix of its expert, then the activation.
  virtual Tensor multiply(const Tensor& x, const ops::StackRows& rows,
                          kernels::Activation activation, const Pass& pass) const = 0;
  // The backward pass to the input: dx [..., in] = dy [..., out] W, of a stack [R, in] in sorted
  // order from dy in sorted order.
  virtual Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                                     const Pass& pass) const = 0;
  // Rows `ids` (int64, any shape) of one matrix as float32 [..., in]; no other row is read.
  virtual Tensor gather_rows(const Tensor& ids, const Pass& pass) const = 0;
  // "f32", "bf16", "ternary q16", ...
  virtual std::string storage() const = 0;
  // Every stored bit, offsets and levels included.
  virtual std::uint64_t bits() const = 0;
  // The matrix as a float32 tensor: what is stored, where that is float32, else a copy.
  virtual Tensor to_dense() const = 0;
  // The elements as they are stored, of any type, in one tensor; undefined where they are packed, or
  // where the matrices of a stack lie apart.
  virtual Tensor stored() const { return {}; }
  // The same as the tensors it consists of: one, or each matrix of a stack; none where it is packed.
  virtual std::vector<Tensor> pieces() const {
    const Tensor whole = stored();
    return whole.defined() ? std::vector<Tensor>{whole} : std::vector<Tensor>{};
  }
  // A stack's matrices where they lie in memory, for products that are fused; no experts where they
  // are packed, or of one matrix.
  virtual kernels::Stack stack() const { return {}; }
  // The leaf that training updates; undefined where there is none: frozen, or packed.
  virtual Tensor leaf() const { return {}; }
};
using WeightPtr = std::shared_ptr<Weight>;

// Float32, bfloat16 or float16 elements, multiplied where they lie. A float32 leaf that requires
// gradients is trained, another tensor is frozen.
WeightPtr make_dense_weight(Tensor value);
// A frozen stack whose matrices [out, in], of one shape and type, lie where they are.
WeightPtr make_stack_of(std::vector<Tensor> matrices);

}  // namespace mote::model
