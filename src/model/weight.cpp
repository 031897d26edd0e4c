#include "model/weight.h"

#include "base/check.h"
#include "kernels/linear/matmul/matmul.h"
#include "model/ops/bridge.h"

namespace mote::model {
namespace {

using kernels::Gemm;
using kernels::Rows;

kernels::Type type_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case torch::kFloat32:
      return kernels::Type::f32;
    case torch::kBFloat16:
      return kernels::Type::bf16;
    case torch::kFloat16:
      return kernels::Type::f16;
    default:
      throw Error(ErrorKind::unsupported,
                  concat("weight: elements of type ", torch::toString(x.scalar_type()),
                         " do not multiply; float32, bfloat16 and float16 do"));
  }
}

class DenseWeight final : public Weight {
 public:
  explicit DenseWeight(Tensor value) : value_(std::move(value)), type_(type_of(value_)) {
    const bool stacked = value_.dim() == 3;
    shape_ = {stacked ? value_.size(0) : 1, value_.size(-2), value_.size(-1), stacked};
  }

  const WeightShape& shape() const override { return shape_; }

  Tensor multiply(const Tensor& x, const Tensor& bias, kernels::Activation activation,
                  const Pass& pass) const override {
    return whole(x, Rows::outer, bias, activation, pass);
  }
  Tensor multiply(const Tensor& x, const ops::StackRows& rows, kernels::Activation activation,
                  const Pass& pass) const override {
    const std::int32_t* pick =
        rows.gathered ? nullptr : rows.routes->token_R.const_data_ptr<std::int32_t>();
    return grouped(x, *rows.routes, pick, Rows::outer, activation, pass);
  }
  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    return routes ? grouped(dy, *routes, nullptr, Rows::inner, kernels::Activation::none, pass)
                  : whole(dy, Rows::inner, {}, kernels::Activation::none, pass);
  }

  Tensor gather_rows(const Tensor& ids, const Pass& pass) const override {
    return ops::gathered(ids, shape_.out, shape_.in, pass, [&](std::int64_t id, float* row) {
      const std::int64_t first = id * value_.stride(0), step = value_.stride(1);
      for (std::int64_t i = 0; i < shape_.in; ++i) row[i] = element(first + i * step);
    });
  }
  std::string storage() const override {
    return type_ == kernels::Type::f32 ? "f32" : type_ == kernels::Type::bf16 ? "bf16" : "f16";
  }
  std::uint64_t bits() const override {
    return static_cast<std::uint64_t>(shape_.count() * 8 * kernels::size_of(type_));
  }
  Tensor to_dense() const override { return value_.to(torch::kFloat32); }
  Tensor stored() const override { return value_; }
  Tensor leaf() const override { return value_.requires_grad() ? value_ : Tensor(); }

 private:
  float element(std::int64_t i) const {
    const void* data = value_.const_data_ptr();
    if (type_ == kernels::Type::f32) return static_cast<const float*>(data)[i];
    const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[i];
    return type_ == kernels::Type::bf16 ? kernels::from_bf16(bits) : kernels::from_f16(bits);
  }

  Tensor whole(const Tensor& x, Rows rows, const Tensor& bias_any, kernels::Activation activation,
               const Pass& pass) const {
    const Tensor even = ops::even_rows(x), w = ops::unit_stride(value_);
    const auto x_NI = ops::rows_of<const float>(even);
    const std::int64_t columns = rows == Rows::outer ? shape_.out : shape_.in;
    Tensor y = ops::output(ops::sizes_with(x, columns), pass);
    Gemm g;
    g.m = x_NI.size(0), g.n = columns, g.k = x_NI.size(1);
    g.a = {x_NI.data, x_NI.stride(0), Rows::outer};
    g.b = {w.const_data_ptr(), w.stride(0), rows};
    g.b.type = type_;
    g.c = y.mutable_data_ptr<float>(), g.c_stride = g.n;
    const Tensor bias = bias_any.defined() ? bias_any.contiguous() : Tensor();
    if (bias.defined()) g.finish.bias = bias.const_data_ptr<float>();
    g.finish.activation = activation;
    g.precision = pass.precision;
    kernels::matmul(g, pass.run);
    return y;
  }

  // One product per block of sorted rows; `pick` names the row of x of each, null: it is sorted.
  Tensor grouped(const Tensor& x_any, const ops::SortedRoutes& routes, const std::int32_t* pick,
                 Rows rows, kernels::Activation activation, const Pass& pass) const {
    const Tensor x = ops::unit_stride(x_any), w = ops::unit_stride(value_);
    Tensor y = ops::output({routes.rows(), rows == Rows::outer ? shape_.out : shape_.in}, pass);
    Gemm like;
    like.n = y.size(1), like.k = x.size(1), like.c_stride = like.n;
    like.precision = pass.precision;
    like.finish.activation = activation;
    const auto& variant = kernels::gemm_variant(like, pass.run);
    const float* from = x.const_data_ptr<float>();
    float* to = y.mutable_data_ptr<float>();
    const auto* weights = static_cast<const std::byte*>(w.const_data_ptr());
    const std::int64_t matrix_bytes = w.stride(0) * kernels::size_of(type_);
    const auto blocks = routes.blocks();
    parallel_for(*pass.run.executor, static_cast<std::int64_t>(blocks.size()),
                 [&](std::int64_t i, int) {
                   const kernels::RowBlock& block = blocks[static_cast<std::size_t>(i)];
                   Gemm g = like;
                   g.m = block.count;
                   g.a = {pick ? from : from + block.first * x.stride(0), x.stride(0), Rows::outer,
                          pick ? pick + block.first : nullptr};
                   g.b = {weights + block.expert * matrix_bytes, w.stride(1), rows};
                   g.b.type = type_;
                   g.c = to + block.first * g.n;
                   variant.call(g, pass.run);
                 });
    return y;
  }

  Tensor value_;
  const kernels::Type type_;
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
