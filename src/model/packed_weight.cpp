#include "model/packed_weight.h"

#include "base/check.h"
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
    const Tensor x_RI = rows_of(x);
    Tensor y = forward(x_RI, all_rows(x_RI.size(0)), pass).view(sizes_with(x, shape_.out));
    if (bias.defined()) y.add_(bias.detach());
    return activation == kernels::Activation::relu ? y.relu_() : y;
  }
  Tensor multiply(const Tensor& x, const ops::StackRows& rows, const Pass& pass) const override {
    const Tensor x_RI =
        rows.gathered ? rows_of(x) : rows_of(x).index_select(0, rows.routes->token_R);
    return forward(x_RI, rows.routes->ends_E, pass);
  }
  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    const Tensor dy_RO = rows_of(dy);
    const Tensor dx =
        multiplied(kernels::packed_product_to_input, dy_RO,
                   routes ? routes->ends_E : all_rows(dy_RO.size(0)), shape_.in, pass);
    return routes ? dx : dx.view(sizes_with(dy, shape_.in));
  }
  Tensor to_dense() const override {
    Tensor dense = torch::empty({shape_.experts, shape_.out, shape_.in}, torch::kFloat32);
    float* out = dense.mutable_data_ptr<float>();
    for (std::int64_t e = 0; e < shape_.experts; ++e)
      for (std::int64_t row = 0; row < shape_.out; ++row, out += shape_.in)
        w_.coder->decode_row(w_, e, row, out);
    return shape_.stacked ? dense : dense.select(0, 0);
  }
  Tensor gather_rows(const Tensor& ids) const override { return torch::embedding(to_dense(), ids); }

 private:
  Tensor forward(const Tensor& x_RI, const Tensor& ends_E, const Pass& pass) const {
    return multiplied(
        pass.int8_activations ? kernels::packed_product_int8 : kernels::packed_product, x_RI,
        ends_E, shape_.out, pass);
  }
  // Rows sorted by expert, `ends_E` as routing makes them.
  Tensor multiplied(void (*product)(const kernels::PackedProduct&, const kernels::Run&),
                    const Tensor& x, const Tensor& ends_E, std::int64_t columns,
                    const Pass& pass) const {
    Tensor y = torch::empty({x.size(0), columns}, x.options());
    product({w_, ops::view_of<const float, 2>(x), ops::view_of<const std::int32_t, 1>(ends_E),
             ops::view_of<float, 2>(y)},
            pass.run);
    return y;
  }
  static Tensor rows_of(const Tensor& x) {
    return x.detach().reshape({-1, x.size(-1)}).contiguous();
  }
  static Tensor all_rows(std::int64_t rows) { return torch::full({1}, rows, torch::kInt32); }
  static std::vector<std::int64_t> sizes_with(const Tensor& x, std::int64_t columns) {
    std::vector<std::int64_t> sizes = x.sizes().vec();
    sizes.back() = columns;
    return sizes;
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
