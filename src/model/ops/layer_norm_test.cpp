#include "model/ops/layer_norm.h"

#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::expect_close;
using testing::fill_double;
using testing::test_pass;

TEST(LayerNormOp, ForwardAndGradientsEqualLibTorchs) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{5, 7}, {3, 70, 24}, {1, 1}}) {
    const std::int64_t columns = shape.back();
    const Tensor x = fill_double(1, shape).requires_grad_(),
                 w = fill_double(2, {columns}).requires_grad_(),
                 b = fill_double(3, {columns}).requires_grad_(), dy = fill_double(4, shape);
    const Tensor want = torch::layer_norm(x, {columns}, w, b, 1e-5);
    (want * dy).sum().backward();
    const auto copy = [](const Tensor& t) {
      return t.detach().to(torch::kFloat32).requires_grad_();
    };
    const Tensor xf = copy(x), wf = copy(w), bf = copy(b);
    const Tensor got = ops::layer_norm(xf, wf, bf, {}, test_pass());
    (got * dy.to(torch::kFloat32)).sum().backward();
    expect_close(got, want, 1e-5, "y");
    expect_close(xf.grad(), x.grad(), 1e-4, "x");  // differences of sums over columns, times rstd
    expect_close(wf.grad(), w.grad(), 1e-5, "weight");
    expect_close(bf.grad(), b.grad(), 1e-5, "bias");
  }
}

}  // namespace
}  // namespace mote::model
