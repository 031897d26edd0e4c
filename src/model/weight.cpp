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

float element_of(const void* data, kernels::Type type, std::int64_t i) {
  if (type == kernels::Type::f32) return static_cast<const float*>(data)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[i];
  return type == kernels::Type::bf16 ? kernels::from_bf16(bits) : kernels::from_f16(bits);
}

std::string storage_of(kernels::Type type) {
  return type == kernels::Type::f32 ? "f32" : type == kernels::Type::bf16 ? "bf16" : "f16";
}

// What enters a product of a stack: rows in sorted order or, with `pick`, row pick[r] for sorted row r.
struct SortedInput {
  const Tensor& x;
  const ops::SortedRoutes& routes;
  const std::int32_t* pick = nullptr;
};
SortedInput input_of(const Tensor& x, const ops::StackRows& rows) {
  return {x, *rows.routes,
          rows.gathered ? nullptr : rows.routes->token_R.const_data_ptr<std::int32_t>()};
}

// One product per block of sorted rows: with W, or with its transpose (Rows::inner).
Tensor by_expert(const SortedInput& input, const kernels::Stack& w, Rows rows,
                 kernels::Activation activation, const Pass& pass) {
  const Tensor x = ops::unit_stride(input.x);
  Gemm like;
  like.n = rows == Rows::outer ? w.rows : w.columns;
  like.finish.activation = activation;
  Tensor y = ops::output({input.routes.rows(), like.n}, pass);
  like.k = x.size(1), like.c_stride = like.n;
  like.precision = pass.precision;
  const auto& variant = kernels::gemm_variant(like, pass.run);
  const float* from = x.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  const auto blocks = input.routes.blocks();
  parallel_for(*pass.run.executor, static_cast<std::int64_t>(blocks.size()),
               [&](std::int64_t i, int) {
                 const kernels::RowBlock& block = blocks[static_cast<std::size_t>(i)];
                 Gemm g = like;
                 g.m = block.count;
                 g.a = {input.pick ? from : from + block.first * x.stride(0), x.stride(0),
                        Rows::outer, input.pick ? input.pick + block.first : nullptr};
                 g.b = w.matrix(block.expert);
                 g.b.rows = rows;
                 g.c = to + block.first * g.n;
                 variant.call(g, pass.run);
               });
  return y;
}

kernels::Stack stack_of(const Tensor& w_EOI, kernels::Type type) {
  return {w_EOI.size(0),   w_EOI.size(1),          w_EOI.size(2),  type,
          w_EOI.stride(1), w_EOI.const_data_ptr(), w_EOI.stride(0)};
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
    return by_expert(input_of(x, rows), stack_of(ops::unit_stride(value_), type_), Rows::outer,
                     activation, pass);
  }
  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    if (!routes) return whole(dy, Rows::inner, {}, kernels::Activation::none, pass);
    return by_expert({dy, *routes}, stack_of(ops::unit_stride(value_), type_), Rows::inner,
                     kernels::Activation::none, pass);
  }

  Tensor gather_rows(const Tensor& ids, const Pass& pass) const override {
    return ops::gathered(ids, shape_.out, shape_.in, pass, [&](std::int64_t id, float* row) {
      const std::int64_t first = id * value_.stride(0), step = value_.stride(1);
      for (std::int64_t i = 0; i < shape_.in; ++i)
        row[i] = element_of(value_.const_data_ptr(), type_, first + i * step);
    });
  }
  std::string storage() const override { return storage_of(type_); }
  std::uint64_t bits() const override {
    return static_cast<std::uint64_t>(shape_.count() * 8 * kernels::size_of(type_));
  }
  Tensor to_dense() const override { return value_.to(torch::kFloat32); }
  Tensor stored() const override { return value_; }
  kernels::Stack stack() const override {
    const bool in_rows = shape_.stacked && (value_.stride(2) == 1 || shape_.in == 1);
    return in_rows ? stack_of(value_, type_) : kernels::Stack{};
  }
  Tensor leaf() const override { return value_.requires_grad() ? value_ : Tensor(); }

 private:
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

  Tensor value_;
  const kernels::Type type_;
  WeightShape shape_;
};

// Matrices of a stack that lie apart, as files with a tensor for each expert have them.
class StackOfMatrices final : public Weight {
 public:
  explicit StackOfMatrices(std::vector<Tensor> matrices)
      : matrices_(std::move(matrices)), type_(type_of(matrices_.front())) {
    for (Tensor& m : matrices_) {
      MOTE_CHECK(m.dim() == 2 && m.sizes() == matrices_.front().sizes() &&
                     m.scalar_type() == matrices_.front().scalar_type() && !m.requires_grad(),
                 "a stack of frozen matrices of one shape and type");
      m = ops::unit_stride(m);
    }
    // A product asks for rows at one distance in all of them.
    for (const Tensor& m : matrices_)
      if (m.stride(0) != matrices_.front().stride(0)) {
        for (Tensor& each : matrices_) each = each.contiguous();
        break;
      }
    for (const Tensor& m : matrices_) each_.push_back(m.const_data_ptr());
    shape_ = {static_cast<std::int64_t>(matrices_.size()), matrices_.front().size(0),
              matrices_.front().size(1), true};
  }

  const WeightShape& shape() const override { return shape_; }
  Tensor multiply(const Tensor&, const Tensor&, kernels::Activation, const Pass&) const override {
    throw Error(ErrorKind::value, "a stack multiplies rows of experts");
  }
  Tensor multiply(const Tensor& x, const ops::StackRows& rows, kernels::Activation activation,
                  const Pass& pass) const override {
    return by_expert(input_of(x, rows), stack(), Rows::outer, activation, pass);
  }
  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    MOTE_CHECK(routes, "a stack multiplies rows of experts");
    return by_expert({dy, *routes}, stack(), Rows::inner, kernels::Activation::none, pass);
  }
  Tensor gather_rows(const Tensor&, const Pass&) const override {
    throw Error(ErrorKind::value, "rows are gathered of one matrix, not of a stack");
  }
  std::string storage() const override { return storage_of(type_); }
  std::uint64_t bits() const override {
    return static_cast<std::uint64_t>(shape_.count() * 8 * kernels::size_of(type_));
  }
  Tensor to_dense() const override { return torch::stack(matrices_).to(torch::kFloat32); }
  std::vector<Tensor> pieces() const override { return matrices_; }
  kernels::Stack stack() const override {
    return {.experts = shape_.experts,
            .rows = shape_.out,
            .columns = shape_.in,
            .type = type_,
            .row_stride = matrices_.front().stride(0),
            .each = each_.data()};
  }

 private:
  std::vector<Tensor> matrices_;
  std::vector<const void*> each_;
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

WeightPtr make_stack_of(std::vector<Tensor> matrices) {
  return std::make_shared<StackOfMatrices>(std::move(matrices));
}

}  // namespace mote::model
