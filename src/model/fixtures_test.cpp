// The reference layers under MOTE_FIXTURES, and the check that no kind of fixture is forgotten.
#include <set>
#include <sstream>

#include "checkpoint/safetensors.h"
#include "model/layers/mixture.h"
#include "model/saved.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

// Kinds that some test reads: the quantisation kinds in checkpoint/fixtures_quant_test, tokenizers
// in text/tokenizer_json_test.
const std::set<std::string> kHandled = {"layer:sigma-MoE", "quant:gptq", "quant:q16",
                                        "tokenizer:byte-level-bpe"};

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

void expect_layer(const fs::path& json_path) {
  SCOPED_TRACE(json_path.string());
  const Json json = test::read_json(json_path);
  fs::path tensors_path = json_path;
  const auto file =
      std::make_shared<checkpoint::SafetensorsFile>(tensors_path.replace_extension(".safetensors"));
  const checkpoint::UsedTensors used(*file);
  const auto get = [&](const std::string& name) {
    return tensor_over(used.at(name), file, name, "fixture");
  };
  const Json& c = json["config"];
  const double gamma = c["gamma"];
  const auto leaf = [&](const std::string& name) { return get(name).clone().requires_grad_(); };
  const Tensor x = leaf("x"), w1 = leaf("w1"), w2 = leaf("w2"), w3 = leaf("w3");
  Mixture layer({c["e"], c["g"], {c["k"], 0, gamma}}, {0, 1, c["d"], 1});
  // Stored as [E, d, G] and [E, G, d].
  testing::Setter setter({{"router.weight", w3},
                          {"experts.up", w1.transpose(1, 2)},
                          {"experts.down", w2.transpose(1, 2)}});
  layer.visit("ff", setter);
  const testing::LayerResult result = testing::run_layer(layer, x, testing::test_pass(true));

  const auto experts = used.at("experts").copied<std::int64_t>();
  const Tensor chosen = result.assignment.expert_R.to(torch::kInt64);
  ASSERT_EQ(chosen.numel(), static_cast<std::int64_t>(experts.size()));
  for (std::size_t i = 0; i < experts.size(); ++i)
    EXPECT_EQ(chosen.data_ptr<std::int64_t>()[i], experts[i]) << i;
  testing::expect_close(result.assignment.gate_R, get("gates").reshape({-1}), 1e-5, "gates");
  testing::expect_close(result.y_ND, get("y"), 1e-5, "y");
  if (gamma > 0)
    testing::expect_close(result.penalty.view({1}) / gamma, get("l_reg"), 1e-5, "l_reg");
  const Tensor z = ops::product(x, make_dense_weight(w3), Tensor(), testing::test_pass());
  testing::expect_close(z, get("z"), 1e-5, "z");
  testing::expect_close(log_mean_probability(z).exp(), get("mean_softmax"), 1e-5, "mean_softmax");
  Tensor loss = (result.y_ND * get("dy")).sum();
  if (result.penalty.defined()) loss = loss + result.penalty;
  EXPECT_NEAR(loss.item<double>(), json["loss"].get<double>(),
              1e-5 * std::max(1.0, std::abs(json["loss"].get<double>())));
  loss.backward();
  testing::expect_close(x.grad(), get("grad.x"), 1e-5, "grad.x");
  testing::expect_close(w1.grad(), get("grad.w1"), 1e-5, "grad.w1");
  testing::expect_close(w2.grad(), get("grad.w2"), 1e-5, "grad.w2");
  testing::expect_close(w3.grad(), get("grad.w3"), 1e-5, "grad.w3");
  EXPECT_NO_THROW(used.check_all_used()) << "a tensor that no line above compares";
}

TEST(FixturesSigmaMoe, LayersComputeWhatTheReferenceDoes) {
  const auto found = test::fixtures_of_kind("layer:sigma-MoE");
  if (found.empty()) GTEST_SKIP() << "no sigma-MoE layers at " << test::fixtures_folder();
  for (const fs::path& path : found) expect_layer(path);
}

}  // namespace
}  // namespace mote::model
