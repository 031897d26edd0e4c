#include "model/packed_weight.h"

#include "base/check.h"
#include "tests/support/models.h"
#include "tests/support/packed.h"

namespace mote::model {
namespace {

using testing::test_pass;

// A coder that counts the rows it decodes.
std::int64_t decoded = 0;
const kernels::Coder* counted_coder = nullptr;
void counting_decode(const kernels::PackedMatrices& w, kernels::Index e, kernels::Index row,
                     float* values) {
  ++decoded;
  counted_coder->decode_row(w, e, row, values);
}

TEST(PackedWeight, GathersTheRowsAskedForAndDecodesNoOther) {
  for (const kernels::Coder* coder : kernels::coders()) {
    const auto stack = testing::random_packed(*coder, {1, 30, 70}, 1);
    kernels::Coder counting = *coder;
    counting.decode_row = counting_decode;
    counted_coder = coder;
    kernels::PackedMatrices parts = stack->view();
    parts.coder = &counting;
    const WeightPtr weight = make_packed_weight(parts, stack, "w", false);
    const Tensor dense = weight->to_dense();
    const Tensor ids = torch::tensor({3, 29, 3, 0}).view({2, 2});
    decoded = 0;
    const Tensor rows = weight->gather_rows(ids, test_pass());
    EXPECT_EQ(decoded, 4) << coder->name;
    EXPECT_TRUE(rows.equal(torch::embedding(dense, ids))) << coder->name;
    for (const std::int64_t id : {-1, 30}) {
      try {
        weight->gather_rows(torch::full({1}, id, torch::kInt64), test_pass());
        FAIL() << "accepted";
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()), concat("gather_rows: row ", id, " of 30"));
      }
    }
  }
}

TEST(PackedWeight, FinishesWithBiasAndActivation) {
  for (const kernels::Coder* coder : kernels::coders())
    for (const std::int64_t rows : {1, 5}) {
      const WeightPtr weight = testing::random_packed_weight(*coder, {1, 30, 70, false}, "w", 2);
      const Tensor x = testing::fill(1, {rows, 70}), bias = testing::fill(2, {30});
      const Tensor plain = weight->multiply(x, Tensor(), kernels::Activation::none, test_pass()),
                   whole = weight->multiply(x, bias, kernels::Activation::relu, test_pass());
      EXPECT_TRUE(whole.equal(torch::relu(plain + bias))) << coder->name;
    }
}

}  // namespace
}  // namespace mote::model
