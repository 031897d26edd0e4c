#include "model/packed_weight.h"

#include <algorithm>

#include "base/check.h"
#include "base/scratch.h"
#include "model/ops/bridge.h"

namespace mote::model {
namespace {

class PackedWeight final : public Weight {
 public:
  PackedWeight(const kernels::PackedMatrices& w, std::shared_ptr<const void> owner,
               std::string name, bool stacked)
      : w_(w),
        owner_(std::move(owner)),
        name_(std::move(name)),
        shape_{w.shape.experts, w.shape.rows, w.shape.columns, stacked} {}

  const WeightShape& shape() const override { return shape_; }
  std::string storage() const override { return w_.coder->storage; }
  std::uint64_t bits() const override { return kernels::num_bits(w_); }
  const kernels::PackedMatrices& parts() const { return w_; }

  Tensor multiply(const Tensor& x, const Tensor& bias, kernels::Activation activation,
                  const Pass& pass) const override {
    const Tensor rows = x.contiguous();
    Tensor y = ops::output(ops::sizes_with(x, shape_.out), pass);
    run_one(forward_product(pass), rows, y, pass);
    finish(y, bias.defined() ? bias.contiguous() : bias, activation, pass);
    return y;
  }
  Tensor multiply(const Tensor& x, const ops::StackRows& rows, kernels::Activation activation,
                  const Pass& pass) const override {
    const Tensor from = x.contiguous();
    const auto x_NI = ops::rows_of<const float>(from);
    const std::int64_t routed = rows.routes->rows();
    Tensor y = ops::output({routed, shape_.out}, pass);
    Scratch scratch;
    auto x_RI = x_NI;
    if (!rows.gathered) {
      float* picked = scratch.take<float>(routed * shape_.in);
      const auto* token = rows.routes->token_R.const_data_ptr<std::int32_t>();
      for (std::int64_t r = 0; r < routed; ++r)
        std::copy_n(x_NI.row(token[r]), shape_.in, picked + r * shape_.in);
      x_RI = kernels::view<const float>(picked, routed, shape_.in);
    }
    forward_product(pass)({w_, x_RI, ends_of(*rows.routes), ops::rows_of<float>(y)}, pass.run);
    finish(y, {}, activation, pass);
    return y;
  }
  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    const Tensor rows = dy.contiguous();
    Tensor dx = ops::output(ops::sizes_with(dy, shape_.in), pass);
    if (routes)
      kernels::packed_product_to_input(
          {w_, ops::rows_of<const float>(rows), ends_of(*routes), ops::rows_of<float>(dx)},
          pass.run);
    else
      run_one(kernels::packed_product_to_input, rows, dx, pass);
    return dx;
  }
  Tensor to_dense() const override {
    Tensor dense = torch::empty({shape_.experts, shape_.out, shape_.in}, torch::kFloat32);
    float* out = dense.mutable_data_ptr<float>();
    for (std::int64_t e = 0; e < shape_.experts; ++e)
      for (std::int64_t row = 0; row < shape_.out; ++row, out += shape_.in)
        w_.coder->decode_row(w_, e, row, out);
    return shape_.stacked ? dense : dense.select(0, 0);
  }
  Tensor gather_rows(const Tensor& ids, const Pass& pass) const override {
    return ops::gathered(ids, shape_.out, shape_.in, pass, [&](std::int64_t id, float* row) {
      w_.coder->decode_row(w_, 0, id, row);
    });
  }

 private:
  using Product = void (*)(const kernels::PackedProduct&, const kernels::Run&);

  static Product forward_product(const Pass& pass) {
    return pass.int8_activations ? kernels::packed_product_int8 : kernels::packed_product;
  }
  // All rows through one matrix.
  void run_one(Product product, const Tensor& x, Tensor& y, const Pass& pass) const {
    const auto rows = ops::rows_of<const float>(x);
    const auto end = static_cast<std::int32_t>(rows.size(0));
    product({w_, rows, kernels::view(&end, 1), ops::rows_of<float>(y)}, pass.run);
  }
  static kernels::View<const std::int32_t, 1> ends_of(const ops::SortedRoutes& routes) {
    return ops::view_of<const std::int32_t, 1>(routes.ends_E);
  }
  // y := act(y + bias).
  static void finish(Tensor& y, const Tensor& bias, kernels::Activation activation,
                     const Pass& pass) {
    const bool relu = activation == kernels::Activation::relu;
    if (!bias.defined() && !relu) return;
    const float* add = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
    const auto rows = ops::rows_of<float>(y);
    constexpr std::int64_t kRows = 16;
    parallel_for(*pass.run.executor, (rows.size(0) + kRows - 1) / kRows, [&](std::int64_t i, int) {
      for (std::int64_t r = i * kRows; r < std::min(rows.size(0), (i + 1) * kRows); ++r)
        finish_row(rows.row(r), add, relu, rows.size(1));
    });
  }
  // In steps of a fixed size, which the compiler turns into vectors.
  static void finish_row(float* __restrict y, const float* __restrict add, bool relu,
                         std::int64_t count) {
    constexpr std::int64_t kStep = 16;
    const auto piece = [&](float* __restrict to, const float* __restrict bias, std::int64_t n) {
      if (bias)
        for (std::int64_t j = 0; j < n; ++j) to[j] += bias[j];
      if (relu)
        for (std::int64_t j = 0; j < n; ++j) to[j] = to[j] < 0 ? 0 : to[j];
    };
    std::int64_t o = 0;
    for (; o + kStep <= count; o += kStep) piece(y + o, add ? add + o : nullptr, kStep);
    piece(y + o, add ? add + o : nullptr, count - o);
  }

  const kernels::PackedMatrices w_;
  const std::shared_ptr<const void> owner_;
  const std::string name_;
  const WeightShape shape_;
};

// What has no product with 8-bit activations is refused by name.
class Int8Check final : public ParameterVisitor {
 public:
  bool found = false;
  void matrix(const Parameter& p, WeightPtr& weight) override {
    const kernels::PackedMatrices* packed = packed_parts(*weight);
    if (!packed) return;
    if (!packed->coder->product_int8)
      throw Error(ErrorKind::unsupported, concat("'", p.name, "' is stored as ", weight->storage(),
                                                 ", which has no product with 8-bit activations"))
          .at(p.name);
    found = true;
  }
  void tensor(const Parameter&, Tensor&) override {}
};

}  // namespace

WeightPtr make_packed_weight(const kernels::PackedMatrices& w, std::shared_ptr<const void> owner,
                             std::string name, bool stacked) {
  return std::make_shared<PackedWeight>(w, std::move(owner), std::move(name), stacked);
}

const kernels::PackedMatrices* packed_parts(const Weight& weight) {
  const auto* packed = dynamic_cast<const PackedWeight*>(&weight);
  return packed ? &packed->parts() : nullptr;
}

void check_int8_activations(Model& model) {
  Int8Check check;
  model.visit(check);
  if (!check.found)
    throw Error(ErrorKind::unsupported,
                "no weight of the model is packed; only packed weights multiply 8-bit activations");
}

}  // namespace mote::model
