// The reference encoder-decoders under MOTE_FIXTURES, T5 and Switch: what every block gives, routing,
// logits, losses and gradients, greedy text.
#include <gtest/gtest.h>

#include "model/encoder_decoder.h"
#include "tests/support/checkpoints.h"

namespace mote::model {
namespace {

using testing::Expected;
using testing::Outputs;
using testing::Weights;

const char* const kKinds[] = {"t5", "switch_transformers"};

// The tokens that an attention mask leaves are the first of each sequence.
Source source_of(const Expected& expected) {
  return {expected.ints("input_ids"), expected.ints("attention_mask").sum(1).to(torch::kInt32)};
}

// Of a layer of experts, by its name in the file and in the model.
void expect_routing(const Expected& expected, const std::string& theirs, const std::string& ours,
                    const Outputs& outputs, const Weights& model, const Pass& pass) {
  if (!expected.has(theirs + ".router_logits")) return;
  const std::string router = ours + ".feed_forward.router.weight";
  const Tensor& x_ND = outputs.given.at(router);
  expected.expect(x_ND, theirs + ".router_input");
  const auto bias = model.tensors.find(ours + ".feed_forward.router.bias");
  const Tensor scores_NE = model.weights.at(router)->multiply(
      x_ND, bias == model.tensors.end() ? Tensor() : bias->second, kernels::Activation::none, pass);
  expected.expect(scores_NE, theirs + ".router_logits");

  const Tensor choice_BT = expected.ints(theirs + ".expert_choice"), choice_N = choice_BT.flatten(),
               kept_N = expected.flags(theirs + ".kept").flatten();
  EXPECT_TRUE(expected.ints(theirs + ".hf_expert_index").flatten().equal(choice_N * kept_N));
  EXPECT_TRUE(scores_NE.argmax(-1).equal(choice_N)) << theirs;
  const ops::Assignment& assignment = outputs.assignments.at(ours + ".feed_forward");
  EXPECT_TRUE(assignment.first_N1.diff().to(torch::kInt64).equal(kept_N)) << theirs;
  EXPECT_TRUE(assignment.expert_R.to(torch::kInt64).equal(choice_N.index({kept_N == 1}))) << theirs;
  const Tensor gate_N = expected.get(theirs + ".router_gate").flatten();
  testing::expect_close(assignment.gate_R, gate_N.index({kept_N == 1}), 1e-4, theirs);
}

void expect_blocks(const Expected& expected, const std::string& side, std::int64_t blocks,
                   const Outputs& outputs, const Weights& model, const Pass& pass) {
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::string theirs = concat(side, ".block.", i),
                      ours = concat(side == "encoder" ? "encoder." : "", "blocks.", i);
    expected.expect(outputs.given.at(ours + ".attention"), theirs + ".self_attn_out");
    if (side == "decoder")
      expected.expect(outputs.given.at(ours + ".cross_attention"), theirs + ".cross_attn_out");
    expected.expect(outputs.given.at(ours + ".feed_forward"), theirs + ".ff_out");
    expected.expect(outputs.given.at(ours), theirs + ".hidden");
    expect_routing(expected, theirs, ours, outputs, model, pass);
  }
}

// Tokens of a stack, [B, T], that bfloat16 may send to another expert: the best score lies less than 4 of
// its steps above the next one in some layer.
Tensor routed_unclearly(const Expected& expected, const std::string& side, std::int64_t blocks,
                        const Tensor& ids_BT) {
  Tensor unclear_BT = torch::zeros(ids_BT.sizes(), torch::kBool);
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::string logits = concat(side, ".block.", i, ".router_logits");
    if (!expected.has(logits)) continue;
    const Tensor best_BT2 = std::get<0>(expected.get(logits).topk(2, -1)),
                 best_BT = best_BT2.select(2, 0);
    const Tensor step_BT = torch::exp2(best_BT.abs().log2().floor() - 7);
    unclear_BT = unclear_BT | (best_BT - best_BT2.select(2, 1) < 4 * step_BT);
  }
  return unclear_BT;
}

// What the original computes in bfloat16: to its tolerance where no token that a position sees may be
// routed otherwise, in the mean everywhere.
void expect_near_bf16(const Tensor& logits_BTV, const Expected& expected,
                      const ModelConfig& config) {
  const Tensor want = expected.get("bf16.logits");
  const double most = want.abs().max().item<double>();
  EXPECT_LE((logits_BTV - want).abs().mean().item<double>(), 3e-2 * most);
  const Tensor in_source = routed_unclearly(expected, "encoder", config.encoder.layers,
                                            expected.ints("input_ids")) &
                           (expected.ints("attention_mask") == 1),
               in_target = routed_unclearly(expected, "decoder", config.layers,
                                            expected.ints("decoder_input_ids"));
  const Tensor clear_BT = (in_target.cumsum(1) == 0) & (in_source.sum(1, true) == 0);
  std::cout << "bf16: " << clear_BT.sum().item<std::int64_t>() << " of " << clear_BT.numel()
            << " positions see no token that bfloat16 may route otherwise\n";
  testing::expect_close(logits_BTV.index({clear_BT}) / most, want.index({clear_BT}) / most, 3e-2,
                        "bf16.logits");
}

// The most probable tokens after the first ones, which a source has been read for.
Tensor greedy(const Model& model, const Source& source, Tensor ids_BT, std::int64_t count,
              const Pass& pass) {
  Cache cache = model.make_cache();
  ForwardState state(pass);
  state.caches = {&cache};
  model.read_source(source, state);
  Tensor next_BT = ids_BT;
  for (std::int64_t i = 0; i < count; ++i) {
    next_BT = model.logits(model.hidden(next_BT, state), pass).argmax(-1);
    ids_BT = torch::cat({ids_BT, next_BT}, 1);
  }
  return ids_BT;
}

void expect_long(const EncoderDecoder& model, const Expected& expected, const Pass& pass) {
  ForwardState reading(pass), writing(pass);
  const Source source{expected.ints("long.input_ids"), {}};
  expected.expect(model.encode(source, reading), "long.encoder.final_norm");
  model.read_source(source, writing);
  const Tensor hidden_BTD = model.hidden(expected.ints("long.decoder_input_ids"), writing);
  expected.expect(hidden_BTD, "long.decoder.final_norm");
  expected.expect(model.logits(last_position(hidden_BTD), pass), "long.last_logits");
}

void expect_greedy(const Model& model, const Expected& expected, const Pass& pass) {
  const Tensor ids_BT = expected.ints("greedy.ids"), best_BN2 = expected.ints("greedy.top2_ids");
  const Source source = source_of(expected);
  const std::int64_t made = best_BN2.size(1);
  EXPECT_TRUE(greedy(model, source, ids_BT.narrow(1, 0, 1), made, pass).equal(ids_BT));
  // The same text given, token by token, as a decoder that may drop tokens has it.
  Cache cache = model.make_cache();
  ForwardState state(pass);
  state.caches = {&cache};
  model.read_source(source, state);
  std::vector<Tensor> values, indices;
  for (std::int64_t t = 0; t < made; ++t) {
    const Tensor logits = model.logits(model.hidden(ids_BT.narrow(1, t, 1), state), pass);
    const auto [value, index] = logits.topk(2);
    values.push_back(value), indices.push_back(index);
  }
  EXPECT_TRUE(torch::cat(indices, 1).equal(best_BN2));
  expected.expect(torch::cat(values, 1), "greedy.top2_logits");
}

void expect_forward(const fs::path& folder) {
  const torch::NoGradGuard no_grad;
  const Expected expected(folder);
  Pass pass = testing::test_pass();
  const auto loaded = load_model(folder, serial());
  const auto& model = dynamic_cast<const EncoderDecoder&>(*loaded);
  const Weights weights(*loaded);
  Outputs outputs;
  pass.observer = &outputs;
  const Source source = source_of(expected);
  ForwardState embedding(pass), reading(pass), writing(pass);
  expected.expect(model.embed_source(source.ids_BS, embedding), "encoder.embed");
  const Tensor source_BSD = model.encode(source, reading);
  expected.expect(source_BSD, "encoder.final_norm");
  writing.source_BSD = source_BSD, writing.source_lengths_B = source.lengths_B;
  const Tensor ids_BT = expected.ints("decoder_input_ids");
  expected.expect(model.embed(ids_BT, writing), "decoder.embed");
  const Tensor hidden_BTD = model.hidden(ids_BT, writing);
  pass.observer = nullptr;
  expect_blocks(expected, "encoder", model.config().encoder.layers, outputs, weights, pass);
  expect_blocks(expected, "decoder", model.config().layers, outputs, weights, pass);
  expected.expect(hidden_BTD, "decoder.final_norm");
  const Tensor logits_BTV = model.logits(hidden_BTD, pass);
  expected.expect(logits_BTV, "logits");
  if (expected.has("bf16.logits")) expect_near_bf16(logits_BTV, expected, model.config());
  if (expected.has("long.input_ids")) expect_long(model, expected, pass);
  if (expected.has("greedy.ids")) expect_greedy(model, expected, pass);
  expected.expect_all_compared({"labels"});  // what expect_loss reads
}

// Outside training, but for the losses of routers; the loss, its parts and the gradients.
void expect_loss(const fs::path& folder) {
  const fs::path home = test::expectations_of(folder);
  const Expected expected(folder);
  if (!expected.has("labels")) return;
  const SavedConfig saved = load_config(home);
  ModelConfig config = load_config(folder).model;
  config.dropout = 0;
  // Neither dropout nor noise: in the rules too.
  for (auto* rules : {&config.rules, &config.encoder.rules})
    for (checkpoint::LayerRule& rule : *rules) {
      rule.changes["feed_forward"]["hidden_dropout"] = 0.0;
      rule.changes["feed_forward"]["router"]["noise"] = {{"kind", "none"}};
    }
  const auto model = make_model(config);
  load_parameters(*model, folder);
  const Pass pass = testing::test_pass(true);
  Memory memory;
  const TrainingLoss loss = model->loss(
      {expected.ints("decoder_input_ids"), expected.ints("labels"), source_of(expected)}, memory,
      pass);
  const Json scalars = test::read_json(home / "expected.json")["scalars"];
  const auto expect_scalar = [&](const Tensor& got, const char* name) {
    const double want = scalars[name];
    EXPECT_NEAR(got.item<double>(), want, 1e-5 * want) << name;
  };
  expect_scalar(loss.token_mean, "cross_entropy");
  expect_scalar(loss.total, "loss");
  if (!fs::exists(home / "grads.safetensors")) return;
  loss.total.backward();
  testing::expect_gradients_of(*model, home / "grads.safetensors", saved);
}

TEST(FixturesEncoderDecoders, ComputeWhatTransformersDoes) {
  for (const char* kind : kKinds) {
    const auto found = test::fixtures_of_kind(concat("checkpoint:", kind));
    if (found.empty()) GTEST_SKIP() << "no " << kind << " at " << test::fixtures_folder();
    for (const fs::path& folder : found) {
      SCOPED_TRACE(folder.string());
      expect_forward(folder);
      expect_loss(folder);
    }
  }
}

// Folders in the layout of QMoE's published models: ternary experts, run where they are packed.
TEST(FixturesQmoeFolders, ComputeWhatTheDequantisedModelDoes) {
  const auto found = test::fixtures_of_kind("quant:qmoe-folder");
  if (found.empty()) GTEST_SKIP() << "no folder of QMoE's at " << test::fixtures_folder();
  const torch::NoGradGuard no_grad;
  for (const fs::path& folder : found) {
    SCOPED_TRACE(folder.string());
    const Expected expected(folder);
    const Pass pass = testing::test_pass();
    const auto model = load_model(folder, serial());
    Weights weights(*model);
    std::int64_t packed = 0;
    for (const auto& [name, weight] : weights.weights) packed += weight->storage() == "ternary q16";
    EXPECT_GT(packed, 0);
    ForwardState state(pass);
    model->read_source(source_of(expected), state);
    expected.expect(model->logits(model->hidden(expected.ints("decoder_input_ids"), state), pass),
                    "logits");
    expected.expect_all_compared({});
  }
}

// Every byte of the experts' parts that is changed, and every file that is cut short, gives another model or
// an error, never a crash.
TEST(FixturesQmoeFolders, AreRefusedWhereTheirPartsDisagree) {
  const auto found = test::fixtures_of_kind("quant:qmoe-folder");
  if (found.empty()) GTEST_SKIP() << "no folder of QMoE's at " << test::fixtures_folder();
  const test::TemporaryFolder scratch;
  for (const char* missing : {"exp00.pt", "exp01.pt"}) {
    const fs::path copy = scratch.path() / missing;
    fs::create_directories(copy);
    for (const auto& entry : fs::directory_iterator(found.front()))
      if (entry.path().filename() != missing)
        fs::copy(entry.path(), copy / entry.path().filename());
    EXPECT_THROW(load_model(copy, serial()), Error) << missing;
  }
  const fs::path cut = scratch.path() / "cut";
  fs::create_directories(cut);
  for (const auto& entry : fs::directory_iterator(found.front()))
    fs::copy(entry.path(), cut / entry.path().filename());
  const std::string whole = read_file(cut / "exp00.pt");
  for (const double share : {0.1, 0.5, 0.99}) {
    fs::remove(cut / "exp00.pt");
    write_file(
        cut / "exp00.pt",
        whole.substr(0, static_cast<std::size_t>(share * static_cast<double>(whole.size()))));
    EXPECT_THROW(load_model(cut, serial()), Error) << share;
  }
}

TEST(FixturesEncoderDecoders, AreSavedAndLoadedAgainByteForByte) {
  if (testing::expect_saved_again_byte_for_byte(kKinds) == 0)
    GTEST_SKIP() << "no checkpoints at " << test::fixtures_folder();
}

}  // namespace
}  // namespace mote::model
