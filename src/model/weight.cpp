#include "model/weight.h"

#include "base/check.h"
#include "kernels/linear/gemm/gemm.h"
#include "model/ops/bridge.h"
#include "model/ops/linear.h"

namespace mote::model {
namespace {

class DenseWeight final : public Weight {
 public:
  explicit DenseWeight(Tensor value) : value_(std::move(value)) {
    const bool stacked = value_.dim() == 3;
    shape_ = {stacked ? value_.size(0) : 1, value_.size(-2), value_.size(-1), stacked};
  }

  const WeightShape& shape() const override { return shape_; }

  Tensor multiply(const Tensor& x, const ops::SortedRoutes* routes, const Tensor& bias,
                  const Pass& pass) const override {
    return shape_.stacked ? grouped(x, *routes, kernels::Rows::outer, pass)
                          : ops::linear(x, value_, bias, pass);
  }

  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    return shape_.stacked ? grouped(dy, *routes, kernels::Rows::inner, pass) : dy.matmul(value_);
  }

  std::string storage() const override { return "f32"; }
  std::uint64_t bits() const override { return static_cast<std::uint64_t>(shape_.count()) * 32; }
  Tensor to_dense() const override { return value_; }
  Tensor& parameter() override { return value_; }

 private:
  // One product per block of sorted rows. Not differentiable: training goes through the fused
  // ops::experts.
  Tensor grouped(const Tensor& x_any, const ops::SortedRoutes& routes, kernels::Rows rows,
                 const Pass& pass) const {
    const Tensor x = ops::unit_stride(x_any), w = ops::unit_stride(value_);
    const bool forward = rows == kernels::Rows::outer;
    Tensor y = torch::empty({x.size(0), forward ? shape_.out : shape_.in}, x.options());
    kernels::Gemm like;
    like.n = y.size(1), like.k = x.size(1), like.c_stride = like.n;
    like.precision = pass.precision;
    const auto& variant = kernels::gemm_variant(like, pass.run);
    const float* from = x.const_data_ptr<float>();
    float* to = y.mutable_data_ptr<float>();
    const float* weights = w.const_data_ptr<float>();
    parallel_for(*pass.run.executor, static_cast<std::int64_t>(routes.blocks.size()),
                 [&](std::int64_t i, int worker) {
                   const kernels::RowBlock& block = routes.blocks[static_cast<std::size_t>(i)];
                   kernels::Gemm g = like;
                   g.m = block.count;
                   g.a = {from + block.first * x.stride(0), x.stride(0), kernels::Rows::outer};
                   g.b = {weights + block.expert * w.stride(0), w.stride(1), rows};
                   g.c = to + block.first * g.n;
                   g.scratch = kernels::gemm_scratch(*pass.run.executor, worker);
                   variant.call(g, pass.run);
                 });
    return y;
  }

  Tensor value_;
  WeightShape shape_;
};

}  // namespace

std::string to_string(const WeightShape& s) {
  return s.stacked ? concat("[", s.experts, ", ", s.out, ", ", s.in, "]")
                   : concat("[", s.out, ", ", s.in, "]");
}

WeightPtr make_dense_weight(Tensor value) {
  return std::make_shared<DenseWeight>(std::move(value));
}

}  // namespace mote::model
