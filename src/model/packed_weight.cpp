#include "model/packed_weight.h"

#include "base/check.h"
#include "kernels/packed/q16_product/q16_product.h"
#include "kernels/packed/q16_product_a8/q16_product_a8.h"
#include "kernels/packed/two_bit_product/two_bit_product.h"
#include "model/ops/bridge.h"

namespace mote::model {
namespace {

// What the storages share; `Parts` is the view of the stored form.
template <class Parts>
class PackedWeight : public Weight {
 public:
  PackedWeight(const Parts& w, std::shared_ptr<const void> owner, std::string name, bool stacked)
      : w_(w),
        owner_(std::move(owner)),
        name_(std::move(name)),
        shape_{w.experts(), w.rows(), w.columns, stacked} {}

  const WeightShape& shape() const override { return shape_; }
  std::uint64_t bits() const override { return kernels::num_bits(w_); }
  const Parts& parts() const { return w_; }

  Tensor multiply(const Tensor& x, const Tensor& bias, const Pass& pass) const override {
    const Tensor x_RI = rows_of(x);
    const Tensor y = forward(x_RI, all_rows(x_RI.size(0)), pass).view(sizes_with(x, shape_.out));
    return bias.defined() ? y + bias : y;
  }
  Tensor multiply(const Tensor& x, const ops::StackRows& rows, const Pass& pass) const override {
    const Tensor x_RI =
        rows.gathered ? rows_of(x) : rows_of(x).index_select(0, rows.routes->token_R);
    return forward(x_RI, rows.routes->ends_E, pass);
  }
  Tensor multiply_transposed(const Tensor& dy, const ops::SortedRoutes* routes,
                             const Pass& pass) const override {
    const Tensor dy_RO = rows_of(dy);
    const Tensor dx = backward(dy_RO, routes ? routes->ends_E : all_rows(dy_RO.size(0)), pass);
    return routes ? dx : dx.view(sizes_with(dy, shape_.in));
  }
  Tensor to_dense() const override {
    const Tensor dense = unpacked();
    return shape_.stacked ? dense : dense.select(0, 0);
  }
  Tensor gather_rows(const Tensor& ids) const override { return torch::embedding(to_dense(), ids); }

 protected:
  // Rows sorted by expert, `ends_E` as routing makes them.
  virtual Tensor forward(const Tensor& x_RI, const Tensor& ends_E, const Pass& pass) const = 0;
  virtual Tensor backward(const Tensor& dy_RO, const Tensor& ends_E, const Pass& pass) const = 0;
  virtual Tensor unpacked() const = 0;  // [E, out, in]

  const Parts w_;
  const std::shared_ptr<const void> owner_;
  const std::string name_;
  const WeightShape shape_;

 private:
  static Tensor rows_of(const Tensor& x) {
    return x.detach().reshape({-1, x.size(-1)}).contiguous();
  }
  static Tensor all_rows(std::int64_t rows) { return torch::full({1}, rows, torch::kInt32); }
  static std::vector<std::int64_t> sizes_with(const Tensor& x, std::int64_t columns) {
    std::vector<std::int64_t> sizes = x.sizes().vec();
    sizes.back() = columns;
    return sizes;
  }
};

class Q16Weight final : public PackedWeight<kernels::Q16Experts> {
 public:
  using PackedWeight::PackedWeight;
  std::string storage() const override { return "ternary q16"; }

  Tensor forward(const Tensor& x, const Tensor& ends_E, const Pass& pass) const override {
    Tensor y = torch::empty({x.size(0), shape_.out}, x.options());
    if (pass.int8_activations) {
      multiply_int8(x, ends_E, y, pass);
      return y;
    }
    Tensor scratch = torch::empty({kernels::q16_scratch(x.size(0), shape_.in)}, x.options());
    kernels::q16_product(
        {w_, ops::view_of<const float, 2>(x), ops::view_of<const std::int32_t, 1>(ends_E),
         ops::view_of<float, 2>(y), ops::view_of<float, 1>(scratch)},
        pass.run);
    return y;
  }

  Tensor backward(const Tensor& dy, const Tensor& ends_E, const Pass& pass) const override {
    Tensor dx = torch::empty({dy.size(0), shape_.in}, dy.options());
    Tensor scratch = torch::empty({kernels::q16_scratch(dy.size(0), shape_.in)}, dy.options());
    kernels::q16_product_to_input(
        {w_, ops::view_of<const float, 2>(dy), ops::view_of<const std::int32_t, 1>(ends_E),
         ops::view_of<float, 2>(dx), ops::view_of<float, 1>(scratch)},
        pass.run);
    return dx;
  }

  Tensor unpacked() const override {
    Tensor dense = torch::empty({shape_.experts, shape_.out, shape_.in}, torch::kFloat32);
    float* out = dense.mutable_data_ptr<float>();
    std::vector<std::uint8_t> trits(static_cast<std::size_t>(shape_.in));
    for (std::int64_t e = 0; e < shape_.experts; ++e)
      for (std::int64_t row = 0; row < shape_.out; ++row) {
        kernels::q16_decode_row(w_.expert(e), row, trits.data());
        const float levels[] = {0, kernels::from_bf16(w_.levels_ER2(e, row, 0)),
                                kernels::from_bf16(w_.levels_ER2(e, row, 1))};
        for (const std::uint8_t trit : trits) *out++ = levels[trit];
      }
    return dense;
  }

 private:
  void multiply_int8(const Tensor& x, const Tensor& ends_E, Tensor& y, const Pass& pass) const {
    Tensor scratch = torch::empty({kernels::q16_a8_scratch(x.size(0), shape_.in)}, torch::kUInt8);
    kernels::q16_product_a8(
        {w_, ops::view_of<const float, 2>(x), ops::view_of<const std::int32_t, 1>(ends_E),
         ops::view_of<float, 2>(y),
         kernels::view(static_cast<std::byte*>(scratch.mutable_data_ptr()), scratch.size(0))},
        pass.run);
  }
};

class TwoBitWeight final : public PackedWeight<kernels::TwoBitExperts> {
 public:
  using PackedWeight::PackedWeight;
  std::string storage() const override { return "2-bit"; }

  Tensor forward(const Tensor& x, const Tensor& ends_E, const Pass& pass) const override {
    Tensor y = torch::empty({x.size(0), shape_.out}, x.options());
    kernels::TwoBitProduct args;
    args.w = w_;
    args.x_RI = ops::view_of<const float, 2>(x);
    args.ends_E = ops::view_of<const std::int32_t, 1>(ends_E);
    args.y_RO = ops::view_of<float, 2>(y);
    kernels::two_bit_product(args, pass.run);
    return y;
  }

  Tensor backward(const Tensor& dy, const Tensor& ends_E, const Pass& pass) const override {
    Tensor dx = torch::empty({dy.size(0), shape_.in}, dy.options());
    kernels::TwoBitProductToInput args;
    args.w = w_;
    args.dy_RO = ops::view_of<const float, 2>(dy);
    args.ends_E = ops::view_of<const std::int32_t, 1>(ends_E);
    args.dx_RI = ops::view_of<float, 2>(dx);
    kernels::two_bit_product_to_input(args, pass.run);
    return dx;
  }

  Tensor unpacked() const override {
    Tensor dense = torch::empty({shape_.experts, shape_.out, shape_.in}, torch::kFloat32);
    float* out = dense.mutable_data_ptr<float>();
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(shape_.in));
    for (std::int64_t e = 0; e < shape_.experts; ++e)
      for (std::int64_t row = 0; row < shape_.out; ++row) {
        kernels::two_bit_unpack_row(&w_.codes_ERB(e, row, 0), shape_.in, codes.data());
        const float scale = kernels::from_bf16(w_.scales_ER(e, row));
        const int zero = w_.zeros_ER(e, row);
        for (const std::uint8_t code : codes) *out++ = scale * static_cast<float>(code - zero);
      }
    return dense;
  }
};

}  // namespace

WeightPtr make_packed_weight(const kernels::Q16Experts& w, std::shared_ptr<const void> owner,
                             std::string name, bool stacked) {
  return std::make_shared<Q16Weight>(w, std::move(owner), std::move(name), stacked);
}

WeightPtr make_packed_weight(const kernels::TwoBitExperts& w, std::shared_ptr<const void> owner,
                             std::string name, bool stacked) {
  return std::make_shared<TwoBitWeight>(w, std::move(owner), std::move(name), stacked);
}

const kernels::Q16Experts* as_q16(const Weight& weight) {
  const auto* packed = dynamic_cast<const Q16Weight*>(&weight);
  return packed ? &packed->parts() : nullptr;
}

const kernels::TwoBitExperts* as_two_bit(const Weight& weight) {
  const auto* packed = dynamic_cast<const TwoBitWeight*>(&weight);
  return packed ? &packed->parts() : nullptr;
}

namespace {

class Int8Check final : public ParameterVisitor {
 public:
  bool found = false;
  void matrix(const Parameter& p, WeightPtr& weight) override {
    if (weight->storage() == "f32") return;
    if (!as_q16(*weight))
      throw Error(ErrorKind::unsupported, concat("'", p.name, "' is stored as ", weight->storage(),
                                                 "; only ternary q16 multiplies 8-bit activations"))
          .at(p.name);
    found = true;
  }
  void tensor(const Parameter&, Tensor&) override {}
};

}  // namespace

void check_int8_activations(Model& model) {
  Int8Check check;
  model.visit(check);
  if (!check.found)
    throw Error(ErrorKind::unsupported,
                "no weight of the model is packed; only ternary q16 multiplies 8-bit activations");
}

}  // namespace mote::model
