#include "model/nonfinite.h"

#include <cmath>

#include "base/check.h"
#include "base/process.h"

namespace mote::model {
namespace {

// Packed weights are not looked at: their levels are checked when they are made and when they are
// loaded.
class LargestNumber final : public ParameterVisitor {
 public:
  std::string tensor_name;
  double largest = -1;
  bool finite = true;

  void matrix(const Parameter& p, WeightPtr& weight) override {
    for (const Tensor& piece : weight->pieces()) look(p.name, piece);
  }
  void tensor(const Parameter& p, Tensor& value) override { look(p.name, value); }
  void table(const Parameter& p, RowTablePtr& table) override { look(p.name, table->values()); }

 private:
  void look(const std::string& name, const Tensor& value) {
    stop_if_interrupted();
    if (!finite || !value.defined() || value.numel() == 0) return;
    const torch::NoGradGuard no_grad;
    const auto most = value.max().to(torch::kFloat64).item<double>(),
               least =
                   value.min().to(torch::kFloat64).item<double>();  // NaN in both, if it is there
    const double magnitude = std::max(std::abs(most), std::abs(least));
    finite = std::isfinite(magnitude);
    if (finite && magnitude <= largest) return;
    tensor_name = name, largest = magnitude;
  }
};

LargestNumber largest_number(const Model& model) {
  LargestNumber found;
  const_cast<Model&>(model).visit(found);  // this walk changes nothing
  return found;
}

[[noreturn]] void refuse(const LargestNumber& found, const std::string& what) {
  throw Error(ErrorKind::numeric,
              concat(what, ": ", found.finite ? "the largest weight is " : "a weight is ",
                     found.largest, ", in '", found.tensor_name,
                     "'; the model is damaged or diverged in training: take another checkpoint"))
      .at(found.tensor_name);
}

}  // namespace

void throw_nonfinite(const Model& model, const std::string& what) {
  refuse(largest_number(model), what);
}

void check_finite(const Model& model, const std::string& what) {
  const LargestNumber found = largest_number(model);
  if (!found.finite) refuse(found, what);
}

}  // namespace mote::model
