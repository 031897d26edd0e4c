// The reference layers under MOTE_FIXTURES, and the check that no kind of fixture is forgotten.
#include <set>
#include <sstream>

#include "checkpoint/safetensors.h"
#include "model/layers/dense_feed_forward.h"
#include "model/layers/lookup.h"
#include "model/layers/mixture.h"
#include "model/ops/keep_topk.h"
#include "model/ops/product_keys.h"
#include "model/saved.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

// Kinds that some test reads: checkpoints in fixtures_checkpoint_test, the quantisation kinds in checkpoint/fixtures_quant_test, tokenizers
// in text/tokenizer_json_test and text/sentencepiece_test.
const std::set<std::string> kHandled = {"checkpoint:deepseek_v2",
                                        "checkpoint:deepseek_v3",
                                        "checkpoint:gemma3_text",
                                        "checkpoint:granitemoe",
                                        "checkpoint:gpt_oss",
                                        "checkpoint:llama",
                                        "checkpoint:mistral",
                                        "checkpoint:mixtral",
                                        "checkpoint:olmoe",
                                        "checkpoint:phimoe",
                                        "checkpoint:qwen2",
                                        "checkpoint:qwen2_moe",
                                        "checkpoint:qwen3",
                                        "checkpoint:qwen3_moe",
                                        "checkpoint:switch_transformers",
                                        "checkpoint:t5",
                                        "layer:DeepSeek-V3",
                                        "layer:dense",
                                        "layer:PEER",
                                        "layer:PKM",
                                        "layer:sigma-MoE",
                                        "quant:gptq",
                                        "quant:q16",
                                        "quant:qmoe-folder",
                                        "tokenizer:byte-level-bpe",
                                        "tokenizer:sentencepiece"};

std::set<std::string> kinds_to_come() {
  std::istringstream lines(
      read_file(fs::path(MOTE_SOURCE_DIR) / "tests" / "fixture_kinds_to_come.txt"));
  std::set<std::string> kinds;
  for (std::string line; std::getline(lines, line);) kinds.insert(line);
  return kinds;
}

TEST(FixturesKinds, AreHandledOrStillToCome) {
  const fs::path root = test::fixtures_folder();
  if (!fs::exists(root)) GTEST_SKIP() << "no fixtures at " << root;
  const std::set<std::string> to_come = kinds_to_come();
  for (const std::string& kind : kHandled)
    EXPECT_FALSE(to_come.contains(kind)) << kind << " is handled: take it off the list";
  for (const auto& [kind, path] : test::find_fixtures(root)) {
    if (kHandled.contains(kind)) continue;
    if (to_come.contains(kind))
      std::cout << "skipped, still to come: " << kind << " (" << path.filename().string() << ")\n";
    else
      ADD_FAILURE() << path << " is of kind '" << kind
                    << "', which no test handles and no list names";
  }
}

TEST(FixturesKinds, CheckpointsHaveExpectationsOfTheirOwnOrOfTheFolderThatIsTheSame) {
  const fs::path root = test::fixtures_folder();
  if (!fs::exists(root)) GTEST_SKIP() << "no fixtures at " << root;
  for (const auto& [kind, path] : test::find_fixtures(root)) {
    if (!kind.starts_with("checkpoint:")) continue;
    const fs::path expected = test::expectations_of(path) / "expected.safetensors";
    EXPECT_FALSE(checkpoint::SafetensorsFile(expected).tensors().empty()) << path;
  }
}

// A pair of files: what the layer was made with, its tensors and the results.
class LayerFixture {
 public:
  explicit LayerFixture(const fs::path& json_path)
      : json(test::read_json(json_path)),
        file_(std::make_shared<checkpoint::SafetensorsFile>(
            fs::path(json_path).replace_extension(".safetensors"))),
        used_(*file_) {}

  bool has(const std::string& name) const { return used_.has(name); }
  Tensor get(const std::string& name) const {
    return tensor_over(used_.at(name), file_, name, "fixture");
  }
  // With a gradient.
  Tensor leaf(const std::string& name) const { return get(name).clone().requires_grad_(); }
  Tensor ints(const std::string& name) const {
    return torch::tensor(used_.at(name).copied<std::int64_t>());
  }
  std::vector<std::uint8_t> bytes(const std::string& name) const {
    return used_.at(name).copied<std::uint8_t>();
  }
  // Compares with the tensor `name`.
  void expect(const Tensor& got, const std::string& name) const {
    const Tensor want = get(name);
    testing::expect_close(got.reshape(want.sizes()), want, 1e-5, name);
  }
  // Goes back from sum(y dy) + penalty, which the fixture has the value of.
  void go_back(const Tensor& y, const Tensor& penalty = {}) const {
    Tensor loss = (y * get("dy").reshape(y.sizes())).sum();
    if (penalty.defined()) loss = loss + penalty;
    const double want = json["loss"];
    EXPECT_NEAR(loss.item<double>(), want, 1e-5 * std::max(1.0, std::abs(want)));
    loss.backward();
  }
  void expect_all_compared() const {
    EXPECT_NO_THROW(used_.check_all_used()) << "a tensor that no line above compares";
  }

  const Json json;

 private:
  const std::shared_ptr<checkpoint::SafetensorsFile> file_;
  const checkpoint::UsedTensors used_;
};

// body(fixture) for every layer of a kind.
template <class Body>
void for_each_layer(const std::string& kind, const Body& body) {
  const auto found = test::fixtures_of_kind(kind);
  if (found.empty()) GTEST_SKIP() << "no " << kind << " at " << test::fixtures_folder();
  for (const fs::path& path : found) {
    SCOPED_TRACE(path.string());
    const LayerFixture fixture(path);
    body(fixture);
    fixture.expect_all_compared();
  }
}

// The router alone: scores come through an identity.
TEST(FixturesDeepSeekV3, RoutersChooseWhatTheReferenceDoes) {
  for_each_layer("layer:DeepSeek-V3", [](const LayerFixture& f) {
    const Json& c = f.json["config"];
    const std::int64_t experts = c["e"], tokens = c["n"];
    checkpoint::Mixture config{experts, 1, {c["k"].get<std::int64_t>(), 0, 0}};
    checkpoint::RouterConfig& router = config.router;
    router.select =
        checkpoint::GroupedTop{c["groups"], c["kept"], checkpoint::GroupScore::best_two};
    router.selection_bias = true;
    router.renormalise = true;
    router.gate_scale = c["scale"];
    Mixture layer(config, {0, 1, experts, 1});
    testing::Setter setter({{"router.weight", torch::eye(experts)},
                            {"router.selection_bias", f.get("bias")},
                            {"experts.up", torch::zeros({experts, 1, experts})},
                            {"experts.down", torch::zeros({experts, experts, 1})}});
    layer.visit("ff", setter);
    const ops::Assignment got =
        testing::run_layer(layer, f.get("logits"), testing::test_pass()).assignment;
    f.expect(got.gate_R, "weights");
    EXPECT_TRUE(got.expert_R.to(torch::kInt64).equal(f.ints("experts")));
    const Tensor compared = torch::sigmoid(f.get("logits")) + f.get("bias");
    f.expect(std::get<0>(compared.view({tokens, c["groups"], -1}).topk(2, -1)).sum(-1),
             "group_scores");
    // Where a mask of 0 would choose otherwise, kept experts below 0 are chosen here.
    const Tensor chosen = compared.gather(1, got.expert_R.to(torch::kInt64).view({tokens, -1}));
    const std::vector<std::uint8_t> differs = f.bytes("differs_from_zero_mask");
    for (std::int64_t n = 0; n < tokens; ++n)
      EXPECT_EQ(chosen[n].min().item<double>() < 0, differs[static_cast<std::size_t>(n)] != 0) << n;
  });
}

TEST(FixturesSigmaMoe, LayersComputeWhatTheReferenceDoes) {
  for_each_layer("layer:sigma-MoE", [](const LayerFixture& f) {
    const Json& c = f.json["config"];
    const double gamma = c["gamma"];
    const Tensor x = f.leaf("x"), w1 = f.leaf("w1"), w2 = f.leaf("w2"), w3 = f.leaf("w3");
    Mixture layer({c["e"], c["g"], {c["k"], 0, gamma}}, {0, 1, c["d"], 1});
    // Stored as [E, d, G] and [E, G, d].
    testing::Setter setter({{"router.weight", w3},
                            {"experts.up", w1.transpose(1, 2)},
                            {"experts.down", w2.transpose(1, 2)}});
    layer.visit("ff", setter);
    const testing::LayerResult result = testing::run_layer(layer, x, testing::test_pass(true));
    EXPECT_TRUE(result.assignment.expert_R.equal(f.ints("experts").to(torch::kInt32)));
    f.expect(result.assignment.gate_R, "gates");
    f.expect(result.y_ND, "y");
    if (gamma > 0) f.expect(result.penalty / gamma, "l_reg");
    const Tensor z = ops::product(x, make_dense_weight(w3), Tensor(), testing::test_pass());
    f.expect(z, "z");
    f.expect(log_mean_probability(z).exp(), "mean_softmax");
    f.go_back(result.y_ND, result.penalty);
    f.expect(x.grad(), "grad.x");
    f.expect(w1.grad(), "grad.w1");
    f.expect(w2.grad(), "grad.w2");
    f.expect(w3.grad(), "grad.w3");
  });
}

TEST(FixturesTopK, LayersComputeWhatTheReferenceDoes) {
  for_each_layer("layer:dense", [](const LayerFixture& f) {
    const Json& c = f.json["config"];
    const Tensor x = f.leaf("x"), w1 = f.leaf("w1"), b1 = f.leaf("b1"), w2 = f.leaf("w2"),
                 b2 = f.leaf("b2");
    DenseFeedForward layer(checkpoint::TopK{c["f"], c["k"]}, 0, {0, 1, c["d"], 1});
    testing::Setter setter(
        {{"up.weight", w1}, {"up.bias", b1}, {"down.weight", w2}, {"down.bias", b2}});
    layer.visit("ff", setter);
    const Tensor y = testing::run_layer(layer, x, testing::test_pass(true)).y_ND;
    f.expect(y, "y");
    const Tensor hidden = torch::relu(x.matmul(w1.t()) + b1).detach();
    const Tensor kept = ops::keep_topk(hidden, c["k"], testing::test_pass());
    const auto want = f.bytes("kept");
    for (std::int64_t i = 0; i < kept.numel(); ++i) {
      // What is 0 anyway may count as kept.
      const float value = kept.data_ptr<float>()[i], before = hidden.data_ptr<float>()[i];
      EXPECT_EQ(value > 0, want[static_cast<std::size_t>(i)] != 0 && before > 0) << i;
    }
    f.go_back(y);
    f.expect(x.grad(), "grad.x");
    f.expect(w1.grad(), "grad.w1");
    f.expect(b1.grad(), "grad.b1");
    f.expect(w2.grad(), "grad.w2");
    f.expect(b2.grad(), "grad.b2");
  });
}

// The packages lay queries out as (half, head, number); here they are (head, half, number).
Tensor by_head(const Tensor& weight, std::int64_t heads) {
  return weight.view({2, heads, -1, weight.size(-1)}).transpose(0, 1).reshape(weight.sizes());
}
// Keys as (head, key, half, number); here (head, half, key, number).
Tensor keys_by_half(const Tensor& keys) {
  return keys.transpose(1, 2);
}

// The memory of arXiv 2310.10837: every head reads the input.
void expect_memory(const LayerFixture& f) {
  const Json& c = f.json["config"];
  const bool relu = c["act"] == "relu";
  const Tensor x = f.leaf("x"), ka = f.leaf("ka"), kb = f.leaf("kb"), values = f.get("values");
  const std::int64_t keys = c["keys"];
  checkpoint::ProductKey config;
  config.values = keys * keys;
  config.router.heads = c["heads"], config.router.experts_per_head = c["knn"];
  const auto run = [&](checkpoint::LookupGate gate, testing::LookupSetter& setter) {
    config.router.gate = gate;
    ProductKey layer(config, {0, 1, c["d"], 1});
    layer.visit("ff", setter);
    return testing::run_layer(layer, x, testing::test_pass(true));
  };
  const std::map<std::string, Tensor> parameters = {{"keys", torch::stack({ka, kb}, 1)},
                                                    {"values", values}};
  testing::LookupSetter setter(parameters);
  const testing::LayerResult result =
      run(relu ? checkpoint::LookupGate::relu : checkpoint::LookupGate::softmax, setter);
  EXPECT_TRUE(result.assignment.expert_R.equal(f.ints("index").to(torch::kInt32)));
  f.expect(result.y_ND, "y");
  const Tensor scores = f.get("scores");
  f.expect(ops::product_keys(x.detach().unsqueeze(1).expand({x.size(0), config.router.heads, -1}),
                             parameters.at("keys").detach(), c["knn"], testing::test_pass())
               .score_NHK,
           "scores");
  f.go_back(result.y_ND);
  f.expect(x.grad(), "grad.x");
  f.expect(ka.grad(), "grad.ka");
  f.expect(kb.grad(), "grad.kb");
  f.expect(testing::dense_gradient(*setter.tables.at("values")), "grad.values");
  if (f.has("y_joint_softmax")) {
    testing::LookupSetter joint(parameters);
    f.expect(run(checkpoint::LookupGate::softmax_joint, joint).y_ND, "y_joint_softmax");
  }
  // The published runs selected nothing: all heads' scores are summed first.
  const std::int64_t half = x.size(1) / 2;
  const Tensor a = x.narrow(1, 0, half).matmul(ka.sum(0).t()),
               b = x.narrow(1, half, half).matmul(kb.sum(0).t());
  const Tensor sums = (a.unsqueeze(2) + b.unsqueeze(1)).flatten(1);
  f.expect((relu ? torch::relu(sums) : torch::softmax(sums, -1)).matmul(values), "y_dense_headsum");
}

// The memory of the package product-key-memory: queries of every head, layer norm over halves.
void expect_packaged_memory(const LayerFixture& f) {
  const Json& c = f.json["config"];
  const std::int64_t keys = c["num_keys"], heads = c["heads"], half = c["dim_head"];
  const Tensor x = f.leaf("x"), query = f.leaf("to_queries.weight"), all_keys = f.leaf("keys"),
               weight = f.leaf("norm.weight"), bias = f.leaf("norm.bias");
  checkpoint::ProductKey config;
  config.values = keys * keys;
  config.router = {heads, c["topk"], false, checkpoint::LookupGate::softmax,
                   checkpoint::LinearQuery{2 * half, false, checkpoint::QueryNorm::layer}};
  if (c["relu"].get<bool>()) config.router.gate = checkpoint::LookupGate::relu;
  ProductKey layer(config, {0, 1, c["dim"], 1});
  testing::LookupSetter setter({{"query.weight", by_head(query, heads)},
                                {"norm.weight", weight},
                                {"norm.bias", bias},
                                {"keys", keys_by_half(all_keys)},
                                {"values", f.get("values.weight")}});
  layer.visit("ff", setter);
  const testing::LayerResult result =
      testing::run_layer(layer, x.reshape({-1, x.size(-1)}), testing::test_pass(true));
  EXPECT_TRUE(result.assignment.expert_R.equal(f.ints("values_index").to(torch::kInt32)));
  f.expect(result.assignment.gate_R, "gates");
  f.expect(result.y_ND, "y");
  if (!c["relu"].get<bool>()) f.expect(torch::softmax(f.get("scores"), -1), "gates");
  f.go_back(result.y_ND);
  f.expect(x.grad(), "grad.x");
  f.expect(query.grad(), "grad.to_queries.weight");
  f.expect(all_keys.grad(), "grad.keys");
  f.expect(weight.grad(), "grad.norm.weight");
  f.expect(bias.grad(), "grad.norm.bias");
  f.expect(testing::dense_gradient(*setter.tables.at("values")), "grad.values.weight");
}

TEST(FixturesProductKey, LayersComputeWhatTheReferenceDoes) {
  for_each_layer("layer:PKM", [](const LayerFixture& f) {
    f.has("ka") ? expect_memory(f) : expect_packaged_memory(f);
  });
}

TEST(FixturesPeer, LayersComputeWhatTheReferenceDoes) {
  for_each_layer("layer:PEER", [](const LayerFixture& f) {
    const Json& c = f.json["config"];
    const std::int64_t heads = c["heads"], per_head = c["per_head"], half = c["dim_key"];
    const bool separate = c.value("separate", false);
    const Tensor x = f.leaf("x"), query = f.leaf("to_queries.0.weight"), keys = f.leaf("keys");
    checkpoint::Peer config;
    config.experts = c["num_experts"];
    config.separate_tables = separate;
    config.router = {heads, per_head, false, checkpoint::LookupGate::softmax,
                     checkpoint::LinearQuery{2 * half, false, checkpoint::QueryNorm::none}};
    if (c["gate"] == "relu") config.router.gate = checkpoint::LookupGate::relu;
    Peer layer(config, {0, 1, c["dim"], 1});
    testing::LookupSetter setter({{"query.weight", by_head(query, heads)},
                                  {"keys", keys_by_half(keys)},
                                  {"up", f.get("weight_down_embed.weight")},
                                  {"down", f.get("weight_up_embed.weight")}});
    layer.visit("ff", setter);
    const Tensor rows = x.reshape({-1, x.size(-1)});
    const testing::LayerResult result = testing::run_layer(layer, rows, testing::test_pass(true));
    EXPECT_TRUE(result.assignment.expert_R.equal(f.ints("experts").to(torch::kInt32)));
    f.expect(result.assignment.gate_R, "gates");
    f.expect(result.y_ND, "y");
    // [half, b, n, head, number] -> [token, head, both halves]
    const Tensor queries = f.get("queries");
    const Tensor q_NHC = queries.permute({1, 2, 3, 0, 4}).reshape({rows.size(0), heads, 2 * half});
    testing::expect_close(rows.detach().matmul(by_head(query, heads).detach().t()),
                          q_NHC.reshape({rows.size(0), -1}), 1e-5, "queries");
    f.expect(ops::product_keys(q_NHC, keys_by_half(keys).detach(), per_head, testing::test_pass())
                 .score_NHK,
             "scores");
    f.go_back(result.y_ND);
    f.expect(x.grad(), "grad.x");
    f.expect(query.grad(), "grad.to_queries.0.weight");
    f.expect(keys.grad(), "grad.keys");
    f.expect(testing::dense_gradient(*setter.tables.at("up")), "grad.weight_down_embed.weight");
    f.expect(testing::dense_gradient(*setter.tables.at("down")), "grad.weight_up_embed.weight");
  });
}

}  // namespace
}  // namespace mote::model
