// The reference checkpoints under MOTE_FIXTURES: logits, what every block gives, greedy text.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "checkpoint/safetensors.h"
#include "model/observer.h"
#include "model/saved.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

// What the original implementation computed.
class Expected {
 public:
  explicit Expected(const fs::path& folder)
      : file_(std::make_shared<checkpoint::SafetensorsFile>(test::expectations_of(folder) /
                                                            "expected.safetensors")),
        used_(*file_) {}

  bool has(const std::string& name) const { return used_.has(name); }
  Tensor get(const std::string& name) const {
    return tensor_over(used_.at(name), file_, name, "fixture");
  }
  Tensor ints(const std::string& name) const {
    const checkpoint::Tensor& stored = used_.at(name);
    return torch::tensor(stored.copied<std::int64_t>()).view(stored.shape);
  }
  void expect(const Tensor& got, const std::string& name) const {
    testing::expect_close(got, get(name), 1e-4, name);
  }
  // But for what is read elsewhere.
  void expect_all_compared(const std::set<std::string>& elsewhere) const {
    EXPECT_NO_THROW(
        used_.check_all_used([&](const std::string& name) { return elsewhere.contains(name); }));
  }

 private:
  const std::shared_ptr<checkpoint::SafetensorsFile> file_;
  const checkpoint::UsedTensors used_;
};

// Keeps what every block and its two layers give, by name.
class Outputs final : public Observer {
 public:
  void gave(const std::string& layer, const Tensor& y) override { given[layer] = y; }
  void left(const std::string& block, const Tensor& x_BTD) override { given[block] = x_BTD; }
  std::map<std::string, Tensor> given;
};

// `count` tokens a sequence, each the most probable after those before; with a cache, the prompt at
// once or `at_once` tokens at a time.
Tensor greedy(const Model& model, Tensor ids_BT, std::int64_t count, std::int64_t at_once,
              const Pass& pass) {
  const torch::NoGradGuard no_grad;
  Cache cache = model.make_cache();
  ForwardState state(pass);
  state.cache = &cache;
  Tensor next_BT = ids_BT;
  for (std::int64_t i = 0; i < count; ++i) {
    Tensor hidden_BTD;
    for (std::int64_t first = 0; first < next_BT.size(1); first += at_once)
      hidden_BTD =
          model.hidden(next_BT.narrow(1, first, std::min(at_once, next_BT.size(1) - first)), state);
    next_BT = model.logits(last_position(hidden_BTD), pass).argmax(-1);
    ids_BT = torch::cat({ids_BT, next_BT}, 1);
  }
  return ids_BT;
}

// The two largest logits after each token of the greedy text, the prompt's last one first.
void expect_best_two(const Model& model, const Expected& expected, const Pass& pass) {
  const torch::NoGradGuard no_grad;
  const Tensor ids_BT = expected.ints("greedy.ids"), best_BN2 = expected.ints("greedy.top2_ids");
  ForwardState state(pass);
  const Tensor logits = model.logits(model.hidden(ids_BT, state), pass);
  const std::int64_t made = best_BN2.size(1);
  const auto [value, index] = logits.narrow(1, ids_BT.size(1) - made - 1, made).topk(2);
  EXPECT_TRUE(index.equal(best_BN2));
  expected.expect(value, "greedy.top2_logits");
}

void expect_decoder(const fs::path& folder) {
  const auto model = load_model(folder, serial());
  const Expected expected(folder);
  Outputs outputs;
  Pass pass = testing::test_pass();
  pass.observer = &outputs;
  const Tensor ids_BT = expected.ints("input_ids");
  {
    const torch::NoGradGuard no_grad;
    ForwardState state(pass);
    if (expected.has("embed")) expected.expect(model->embed(ids_BT, state), "embed");
    ForwardState fresh(pass);
    const Tensor hidden_BTD = model->hidden(ids_BT, fresh);
    for (std::int64_t i = 0; i < model->config().layers; ++i) {
      const std::string ours = concat("blocks.", i), theirs = concat("layer.", i);
      expected.expect(outputs.given.at(ours + ".attention"), theirs + ".attn_out");
      expected.expect(outputs.given.at(ours + ".feed_forward").view(hidden_BTD.sizes()),
                      theirs + ".mlp_out");
      expected.expect(outputs.given.at(ours), theirs + ".hidden");
    }
    expected.expect(hidden_BTD, "final_norm");
    expected.expect(model->logits(hidden_BTD, pass), "logits");
  }
  pass.observer = nullptr;
  const Tensor greedy_BT = expected.ints("greedy.ids");
  const std::int64_t made = 24;  // as the fixtures' notes have it
  const Tensor prompt_BT = greedy_BT.narrow(1, 0, greedy_BT.size(1) - made);
  for (const std::int64_t at_once : {1, 3, 1000})
    EXPECT_TRUE(greedy(*model, prompt_BT, made, at_once, pass).equal(greedy_BT))
        << at_once << " tokens at a time";
  if (expected.has("greedy.top2_ids")) expect_best_two(*model, expected, pass);
  expected.expect_all_compared({"labels"});  // what expect_gradients reads
}

// grads.safetensors has the gradient of every parameter, of the mean over all tokens but the first,
// given those before; the loss is in expected.json.
void expect_gradients(const fs::path& folder) {
  const fs::path path = test::expectations_of(folder) / "grads.safetensors";
  if (!fs::exists(path)) return;
  const SavedConfig saved = load_config(folder);
  const auto model = make_model(saved.model);
  load_parameters(*model, folder);
  const Expected expected(folder);
  const Tensor ids_BT = expected.ints("input_ids");
  const std::int64_t length = ids_BT.size(1);
  Memory memory;
  const Pass pass = testing::test_pass();
  const TrainingLoss loss =
      model->loss(ids_BT.narrow(1, 0, length - 1), expected.ints("labels").narrow(1, 1, length - 1),
                  memory, pass);
  const double want =
      test::read_json(test::expectations_of(folder) / "expected.json")["scalars"]["cross_entropy"];
  EXPECT_NEAR(loss.token_mean.item<double>(), want, 1e-5 * want);
  loss.token_mean.backward();
  const auto file = std::make_shared<checkpoint::SafetensorsFile>(path);
  for (const auto& [name, value] : trainable_parameters(*model).tensors) {
    const std::string stored = saved.stored(name).name;
    const Tensor grad = tensor_over(file->at(stored), file, stored, "fixture");
    const double largest = grad.abs().max().item<double>();
    testing::expect_close(value.grad() / largest, grad / largest, 1e-3, stored);
  }
}

const char* const kDecoders[] = {"llama", "mistral", "qwen2", "qwen3", "gemma3_text"};

TEST(FixturesDecoders, ComputeWhatTransformersDoes) {
  for (const char* kind : kDecoders) {
    const auto found = test::fixtures_of_kind(concat("checkpoint:", kind));
    if (found.empty()) GTEST_SKIP() << "no " << kind << " at " << test::fixtures_folder();
    for (const fs::path& folder : found) {
      SCOPED_TRACE(folder.string());
      expect_decoder(folder);
      expect_gradients(folder);
    }
  }
}

}  // namespace
}  // namespace mote::model
