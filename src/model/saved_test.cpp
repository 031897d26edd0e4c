#include "model/saved.h"

#include "base/json_text.h"
#include "tests/support/files.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.vocab_size = 40, config.layers = 2, config.dim = 16, config.context = 8;
  config.attention = checkpoint::TransformerXl{2, 8};
  config.feed_forward = checkpoint::Mixture{4, 8, {2, 0, 0}};
  return config;
}

Tensor logits_of(Model& model) {
  const torch::NoGradGuard no_grad;
  const Pass pass = testing::test_pass();
  Cache cache = model.make_cache();
  ForwardState state(pass);
  state.caches = {&cache};
  return model.logits(model.hidden((torch::arange(20) * 7 % 40).view({1, 20}), state), pass);
}

// Stores every matrix in another type.
class Converter final : public ParameterVisitor {
 public:
  explicit Converter(torch::ScalarType type) : type_(type) {}
  void matrix(const Parameter&, WeightPtr& weight) override {
    weight = make_dense_weight(weight->to_dense().detach().to(type_));
  }
  void tensor(const Parameter&, Tensor&) override {}

 private:
  const torch::ScalarType type_;
};

TEST(SavedModel, IsTheSameInOneFileInShardsAndInSixteenBits) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16, torch::kFloat16})
    for (const std::uint64_t most : {kMostShardBytes, std::uint64_t{3000}}) {
      const auto model = make_model(small_config());
      initialize(*model, 3);
      Converter converter(type);
      model->visit(converter);
      const test::TemporaryFolder folder;
      save_model(*model, folder.path(), std::nullopt, most);
      EXPECT_EQ(fs::exists(folder.path() / "model.safetensors"), most == kMostShardBytes);
      const auto loaded = load_model(folder.path(), serial());
      EXPECT_TRUE(logits_of(*loaded).equal(logits_of(*model)));
      EXPECT_EQ(model_hash(folder.path()).size(), 16u);
      const auto trained = make_model(small_config());
      load_parameters(*trained, folder.path());
      EXPECT_NO_THROW(trainable_parameters(*trained)) << "copies in float32, to go on from";
    }
}

TEST(SavedModel, WithATensorTooManyIsRefusedByItsName) {
  ModelConfig config = small_config();
  const auto model = make_model(config);
  initialize(*model, 3);
  const test::TemporaryFolder folder;
  save_model(*model, folder.path());
  Json json = read_json_object((folder.path() / "config.json").string());
  json["layers"] = 1;
  write_file(folder.path() / "config.json", json.dump());
  try {
    load_model(folder.path(), serial());
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_TRUE(error.field().starts_with("blocks.1.")) << error.what();
  }
}

}  // namespace
}  // namespace mote::model
