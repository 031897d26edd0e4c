// Models in another format give the logits that they gave: the reference checkpoints, and small ones of
// blocks, of packed weights and of ternary numbers.
#include "model/convert/convert.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/check.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/safetensors.h"
#include "model/convert/weight_change.h"
#include "model/saved.h"
#include "tests/support/contains.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;
using test::contains;

Tensor logits_of(const fs::path& folder) {
  const auto model = load_model(folder, serial());
  const torch::NoGradGuard no_grad;
  const Tensor ids = (torch::arange(24) * 7).remainder(model->config().vocab_size).view({2, 12});
  const Pass pass = testing::test_pass();
  ForwardState state(pass);
  if (checkpoint::reads_source(model->config())) model->read_source({ids, {}}, state);
  return model->logits(model->hidden(ids, state), pass);
}

// What is wrong; empty: nothing.
std::string refusal(const fs::path& model, const fs::path& out, const ConvertOptions& options) {
  try {
    convert(model, out, options, serial());
  } catch (const Error& error) {
    EXPECT_FALSE(fs::exists(out)) << "nothing is left behind";
    return error.what();
  }
  return "";
}

std::map<std::string, Dtype> types_in(const fs::path& path) {
  std::map<std::string, Dtype> types;
  const auto source = checkpoint::open_tensors(path);
  for (const auto& [name, tensor] : source->tensors()) types[name] = tensor.dtype;
  return types;
}

// The reference checkpoints that are read.
std::vector<test::Fixture> checkpoints() {
  std::vector<test::Fixture> found;
  const fs::path root = test::fixtures_folder();
  if (!fs::exists(root)) return found;
  for (const test::Fixture& fixture : test::find_fixtures(root)) {
    if (!fixture.first.starts_with("checkpoint:")) continue;
    if (checkpoint::find_family(test::read_json(fixture.second / "config.json")))
      found.push_back(fixture);
  }
  return found;
}

TEST(FixturesConvert, FoldersOfSafetensorsAreTheSameModel) {
  const auto fixtures = checkpoints();
  if (fixtures.empty()) GTEST_SKIP() << "no reference outputs at " << test::fixtures_folder();
  for (const auto& [kind, folder] : fixtures) {
    SCOPED_TRACE(folder);
    const test::TemporaryFolder scratch;
    const fs::path out = scratch.path() / "out";
    const ConvertReport report = convert(folder, out, {}, serial());
    EXPECT_TRUE(logits_of(out).equal(logits_of(folder)));
    EXPECT_EQ(report.tensors, static_cast<std::int64_t>(types_in(out).size()));
    EXPECT_EQ(report.bytes, bytes_on_disk(out));
    EXPECT_EQ(test::read_json(out / "config.json").at("model_type"),
              test::read_json(folder / "config.json").at("model_type"));
    EXPECT_TRUE(fs::exists(out / "generation_config.json"));
  }
}

TEST(FixturesConvert, GgufGivesTheSameLogitsAndThereAndBackTheSameFolder) {
  const auto fixtures = checkpoints();
  if (fixtures.empty()) GTEST_SKIP() << "no reference outputs at " << test::fixtures_folder();
  std::set<std::string> kinds;
  for (const auto& [kind, folder] : fixtures) {
    SCOPED_TRACE(folder);
    const test::TemporaryFolder scratch;
    const fs::path file = scratch.path() / "m.gguf", again = scratch.path() / "again.gguf",
                   back = scratch.path() / "back";
    const ConvertOptions gguf{Format::gguf, {}};
    if (const std::string problem = refusal(folder, file, gguf); !problem.empty()) {
      EXPECT_TRUE(contains(problem, "GGUF has no way to say") ||
                  contains(problem, "latent attention"))
          << problem;
      continue;
    }
    kinds.insert(kind);
    const Tensor wanted = logits_of(folder);
    // Where columns of heads lie in another order sums are made in another, and gemma3's scale of scores
    // is in a norm; the others are the same numbers in the same order.
    const std::string architecture = load_config(file).family;
    if (architecture == "llama" || architecture == "gemma3")
      testing::expect_close(logits_of(file), wanted, 1e-6);
    else
      EXPECT_TRUE(logits_of(file).equal(wanted)) << architecture;
    convert(folder, again, gguf, serial());
    EXPECT_EQ(read_file(file), read_file(again)) << "the same bytes every time";
    convert(file, back, {}, serial());
    testing::expect_close(logits_of(back), wanted, 1e-6);
    EXPECT_EQ(test::read_json(back / "config.json").at("model_type"),
              test::read_json(folder / "config.json").at("model_type"));
  }
  EXPECT_GE(kinds.size(), 6u) << "llama, gemma3_text, qwen and mixtures";
}

// Where columns m and m + R / 2 are a pair, GGUF and the family's default have 2m and 2m + 1.
TEST(FixturesConvert, LatentAttentionWithOtherPairsIsTheSameModelInGguf) {
  const fs::path fixture = test::fixtures_folder() / "deepseek-v3";
  if (!fs::exists(fixture)) GTEST_SKIP() << "no deepseek-v3 at " << test::fixtures_folder();
  const test::TemporaryFolder scratch;
  const fs::path folder = scratch.path() / "halves", file = scratch.path() / "m.gguf";
  fs::create_directory(folder);
  fs::copy_file(fixture / "model.safetensors", folder / "model.safetensors");
  Json config = test::read_json(fixture / "config.json");
  config["rope_interleave"] = false;
  write_file(folder / "config.json", config.dump());
  const Tensor wanted = logits_of(folder);
  EXPECT_FALSE(torch::allclose(wanted, logits_of(fixture), 0.01, 0.01)) << "it matters";
  convert(folder, file, {Format::gguf, {}}, serial());
  testing::expect_close(logits_of(file), wanted, 1e-6);
  convert(folder, scratch.path() / "again", {}, serial());
  EXPECT_TRUE(logits_of(scratch.path() / "again").equal(wanted));
}

// ---- small models

ModelConfig llama(std::int64_t dim) {
  ModelConfig config;
  config.vocab_size = 20, config.layers = 2, config.dim = dim, config.context = 32;
  config.dropout = 0;
  config.head.bias = false;
  config.norms.kind = checkpoint::NormKind::rms;
  checkpoint::Rotary attention;
  attention.heads = 4, attention.key_heads = 2, attention.head_dim = dim / 4;
  config.attention = attention;
  config.feed_forward = checkpoint::Dense{dim, checkpoint::NeuronActivation::silu, true, false};
  return config;
}

// A random model of mote's own, saved.
void save(const ModelConfig& config, const fs::path& folder) {
  const auto model = make_model(config);
  initialize(*model, 3);
  fs::create_directories(folder);
  save_model(*model, folder);
}

class Convert : public ::testing::Test {
 protected:
  fs::path at(const char* name) const { return scratch_.path() / name; }
  const test::TemporaryFolder scratch_;
};

TEST_F(Convert, OursBecomesTheArchitectureThatSaysTheSame) {
  save(llama(32), at("ours"));
  convert(at("ours"), at("m.gguf"), {Format::gguf, {}}, serial());
  EXPECT_EQ(load_config(at("m.gguf")).family, "llama");
  testing::expect_close(logits_of(at("m.gguf")), logits_of(at("ours")), 1e-6);
}

TEST_F(Convert, TypesAreThoseAskedForAndVectorsOfGgufAreFloat32) {
  save(llama(32), at("ours"));
  convert(at("ours"), at("m.gguf"), {Format::gguf, Dtype::q8_0}, serial());
  const auto in_gguf = types_in(at("m.gguf"));
  EXPECT_EQ(in_gguf.at("blk.0.attn_q.weight"), Dtype::q8_0);
  EXPECT_EQ(in_gguf.at("token_embd.weight"), Dtype::q8_0);
  EXPECT_EQ(in_gguf.at("blk.0.attn_norm.weight"), Dtype::f32);
  // A weight is off by up to 1 / 254 of the largest of its block, two layers and a head add up.
  testing::expect_close(logits_of(at("m.gguf")), logits_of(at("ours")), 0.1);

  convert(at("ours"), at("bf16"), {Format::safetensors, Dtype::bf16}, serial());
  for (const auto& [name, type] : types_in(at("bf16"))) EXPECT_EQ(type, Dtype::bf16) << name;
}

TEST_F(Convert, BlocksStayInGgufAndBecomeNumbersThatHoldThemExactly) {
  save(llama(32), at("ours"));
  convert(at("ours"), at("m.gguf"), {Format::gguf, Dtype::q8_0}, serial());
  convert(at("m.gguf"), at("again.gguf"), {Format::gguf, {}}, serial());
  EXPECT_TRUE(logits_of(at("again.gguf")).equal(logits_of(at("m.gguf"))));
  EXPECT_EQ(types_in(at("again.gguf")), types_in(at("m.gguf")));

  convert(at("m.gguf"), at("folder"), {}, serial());
  EXPECT_EQ(types_in(at("folder")).at("model.layers.0.self_attn.q_proj.weight"), Dtype::f32)
      << "BF16 has too few bits";
  const auto theirs = load_model(at("m.gguf"), serial()), ours = load_model(at("folder"), serial());
  testing::expect_close(logits_of(at("folder")), logits_of(at("m.gguf")), 1e-5);
}

TEST_F(Convert, TernaryTypesAreForWhatTheyHoldExactly) {
  ModelConfig config = llama(256);
  save(config, at("ours"));
  const ConvertOptions ternary{Format::gguf, Dtype::tq1_0};
  EXPECT_TRUE(contains(refusal(at("ours"), at("m.gguf"), ternary), "-d, 0 and d"));

  const auto model = make_model(config);
  initialize(*model, 3);
  class Rounder final : public ParameterVisitor {
   public:
    void matrix(const Parameter& p, WeightPtr& weight) override {
      if (p.name.find("feed_forward") != std::string::npos)
        weight = make_dense_weight(torch::sign(weight->to_dense() * 40).trunc() * 0.5);
    }
    void tensor(const Parameter&, Tensor&) override {}
  } rounder;
  {
    const torch::NoGradGuard no_grad;
    model->visit(rounder);
  }
  fs::create_directories(at("rounded"));
  save_model(*model, at("rounded"));
  for (const Dtype type : {Dtype::tq1_0, Dtype::tq2_0}) {
    const fs::path file = at(type == Dtype::tq1_0 ? "1.gguf" : "2.gguf");
    convert(at("rounded"), file, {Format::gguf, type}, serial());
    const auto types = types_in(file);
    EXPECT_EQ(types.at("blk.0.ffn_up.weight"), type);
    EXPECT_EQ(types.at("blk.0.attn_q.weight"), Dtype::f32) << "no such numbers: as it was";
    testing::expect_close(logits_of(file), logits_of(at("rounded")), 1e-5);
  }
}

TEST_F(Convert, RefusesWhatGgufHasNoWayToSayByName) {
  ModelConfig config = llama(32);
  config.attention = checkpoint::TransformerXl{};
  save(config, at("xl"));
  EXPECT_TRUE(contains(refusal(at("xl"), at("m.gguf"), {Format::gguf, {}}), "attention"));

  config = llama(32);
  config.attention.get_if<checkpoint::Rotary>()->window = 8;
  save(config, at("window"));
  const std::string problem = refusal(at("window"), at("m.gguf"), {Format::gguf, {}});
  EXPECT_TRUE(contains(problem, "as llama: layer 0: attention.window is 8 and 0")) << problem;

  save(llama(24), at("odd"));
  const std::string rows = refusal(at("odd"), at("m.gguf"), {Format::gguf, Dtype::q8_0});
  EXPECT_TRUE(contains(rows, "rows of 24") && contains(rows, "blocks of 32")) << rows;
}

TEST_F(Convert, WritesNothingOverWhatIsThere) {
  save(llama(32), at("ours"));
  EXPECT_THROW(convert(at("ours"), at("ours"), {}, serial()), Error);
  write_file(at("m.gguf"), "x");
  EXPECT_THROW(convert(at("ours"), at("m.gguf"), {Format::gguf, {}}, serial()), Error);
  EXPECT_EQ(read_file(at("m.gguf")), "x");
  EXPECT_TRUE(contains(refusal(at("ours"), at("m.bin"), {Format::gguf, {}}), ".gguf"));
}

TEST_F(Convert, NumbersThatAreTooLargeForATypeAreNamed) {
  const auto model = make_model(llama(32));
  initialize(*model, 3);
  class Grower final : public ParameterVisitor {
   public:
    void matrix(const Parameter& p, WeightPtr& weight) override {
      if (p.name == "blocks.1.attention.v.weight")
        weight = make_dense_weight(weight->to_dense().detach() * 1e7);
    }
    void tensor(const Parameter&, Tensor&) override {}
  } grower;
  model->visit(grower);
  fs::create_directories(at("large"));
  save_model(*model, at("large"));
  const std::string problem = refusal(at("large"), at("out"), {Format::safetensors, Dtype::f16});
  EXPECT_TRUE(contains(problem, "blocks.1.attention.v.weight") && contains(problem, "F16"))
      << problem;
}

// ---- what changes

TEST(WeightChange, PairsMoveWithinTheirHeadsAndBack) {
  ModelConfig halves = llama(32), adjacent = halves;
  adjacent.attention.get_if<checkpoint::Rotary>()->rotary.pairs = checkpoint::RotaryPairs::adjacent;
  const std::string q = "blocks.1.attention.q.weight";
  const auto there = weight_change(q, halves, adjacent).order;
  ASSERT_EQ(there.size(), 32u);
  EXPECT_EQ(std::vector<std::int64_t>(there.begin() + 8, there.begin() + 16),
            (std::vector<std::int64_t>{8, 12, 9, 13, 10, 14, 11, 15}));
  const auto back = weight_change(q, adjacent, halves).order;
  for (std::size_t i = 0; i < there.size(); ++i)
    EXPECT_EQ(there[static_cast<std::size_t>(back[i])], static_cast<std::int64_t>(i));
  EXPECT_EQ(weight_change("blocks.1.attention.k.bias", halves, adjacent).order.size(), 16u);
  EXPECT_TRUE(weight_change("blocks.1.attention.v.weight", halves, adjacent).order.empty());
  EXPECT_TRUE(weight_change(q, halves, halves).order.empty());
}

TEST(WeightChange, LatentPairsMoveWithinTheRowsThatAreTurned) {
  checkpoint::Latent latent;
  latent.heads = 2, latent.q_rank = 4, latent.kv_rank = 3, latent.head_dim = 6, latent.rope_dim = 4;
  ModelConfig halves = llama(32);
  halves.attention = latent;
  latent.rotary.pairs = checkpoint::RotaryPairs::adjacent;
  ModelConfig adjacent = halves;
  adjacent.attention = latent;
  const auto order = [](const char* part, const ModelConfig& from, const ModelConfig& to) {
    return weight_change(std::string("blocks.1.attention.") + part, from, to).order;
  };
  using Rows = std::vector<std::int64_t>;
  EXPECT_EQ(order("q_up.weight", halves, adjacent), (Rows{0, 1, 2, 4, 3, 5, 6, 7, 8, 10, 9, 11}));
  EXPECT_EQ(order("kv_down.bias", halves, adjacent), (Rows{0, 1, 2, 3, 5, 4, 6}));
  EXPECT_EQ(order("kv_up.weight", halves, adjacent), Rows{});
  EXPECT_EQ(order("q_up.weight", adjacent, adjacent), Rows{});
}

}  // namespace
}  // namespace mote::model
