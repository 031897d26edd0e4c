#include "model/language_model.h"

#include "model/loss.h"
#include "model/ops/head_loss.h"
#include "tests/support/models.h"
#include "tests/support/texts.h"
#include "text/bpe.h"

namespace mote::model {
namespace {

using testing::expect_close;
using testing::test_pass;

using checkpoint::Causal;
using checkpoint::Dense;
using checkpoint::Positions;
using checkpoint::TransformerXl;

ModelConfig small_config() {
  ModelConfig config;
  config.vocab_size = 50;
  config.layers = 3;
  config.dim = 24;
  config.context = 8;
  config.attention = TransformerXl{2, 12};
  config.feed_forward = checkpoint::Mixture{4, 16, {2, 0, 0}};
  return config;
}

// A block of Llama's kin with all that they may have.
ModelConfig rotary_config() {
  ModelConfig config = small_config();
  checkpoint::Rotary attention;
  attention.heads = 4, attention.key_heads = 2, attention.head_dim = 6;
  attention.bias = attention.output_bias = attention.sinks = true;
  attention.head_norm = checkpoint::HeadNorm::head;
  attention.window = 5, attention.clip = 2;
  config.attention = attention;
  config.norms = {checkpoint::NormKind::rms, 1e-6, 1, true};
  config.embedding_scale = 3;
  config.feed_forward = Dense{20, checkpoint::NeuronActivation::silu, true, false};
  return config;
}

TransformerXl& xl(ModelConfig& config) {
  return *config.attention.get_if<TransformerXl>();
}

std::unique_ptr<LanguageModel> some_model(const ModelConfig& config, std::uint64_t seed = 3) {
  auto model = std::make_unique<LanguageModel>(config);
  initialize(*model, seed);
  // Biases and scores that are 0 at the start would hide mistakes.
  const torch::NoGradGuard no_grad;
  for (auto& [name, value] : trainable_parameters(*model).tensors) {
    Tensor t = value;
    if (name.find("_bias") != std::string::npos) t.copy_(testing::fill(7, value.sizes().vec()));
  }
  return model;
}

Tensor some_ids(std::int64_t batch, std::int64_t length, std::int64_t vocabulary) {
  return (torch::arange(batch * length) * 7919 % 104729 % vocabulary).view({batch, length});
}

Tensor logits_in_steps(const LanguageModel& model, const Tensor& ids,
                       const std::vector<std::int64_t>& steps) {
  const torch::NoGradGuard no_grad;
  Cache cache = model.make_cache();
  std::vector<Tensor> parts;
  std::int64_t first = 0;
  for (std::size_t i = 0; first < ids.size(1); ++i) {
    const std::int64_t count = std::min(steps[i % steps.size()], ids.size(1) - first);
    const Pass pass = test_pass();
    ForwardState state(pass);
    state.caches = {&cache};
    parts.push_back(model.logits(model.hidden(ids.narrow(1, first, count), state), pass));
    first += count;
  }
  return torch::cat(parts, 1);
}

// Published totals of specs/sparse-ffn 3.3, less the unused scalar per layer that mote leaves out.
TEST(ParameterCounts, EqualThePublishedTotals) {
  struct Row {
    const char* name;
    std::int64_t vocabulary, layers, dim, heads, head_dim, dense, experts, width, feed_forward,
        total;
  };
  for (const Row& r : {Row{"E8 dense", 205, 12, 512, 8, 64, 2053, 0, 0, 2104837, 41234721},
                       Row{"E8", 205, 12, 512, 8, 64, 0, 16, 128, 2105344, 41240805},
                       Row{"WT-S dense", 8000, 16, 412, 10, 41, 2053, 0, 0, 1694137, 47260136},
                       Row{"WT-S", 8000, 16, 412, 10, 41, 0, 16, 128, 1694144, 47260248},
                       Row{"WT-S* dense", 8000, 16, 412, 10, 41, 16480, 0, 0, 13596412, 237696536},
                       Row{"WT-S*", 8000, 16, 412, 10, 41, 0, 128, 128, 13553152, 237004376},
                       Row{"WT-B dense", 8000, 18, 1024, 16, 64, 4110, 0, 0, 8422414, 262479968},
                       Row{"WT-B", 8000, 18, 1024, 16, 64, 0, 32, 128, 8421376, 262461284}}) {
    ModelConfig c;
    c.vocab_size = r.vocabulary, c.layers = r.layers, c.dim = r.dim;
    c.attention = TransformerXl{r.heads, r.head_dim};
    if (r.dense)
      c.feed_forward = Dense{r.dense};
    else
      c.feed_forward = checkpoint::Mixture{r.experts, r.width, {}};
    const ParameterCounts counts = count_parameters(c);
    EXPECT_EQ(counts.feed_forward, r.layers * r.feed_forward) << r.name;
    EXPECT_EQ(counts.total, r.total - r.layers) << r.name;
  }
}

TEST(ParameterCounts, CountTheTensorsThatExist) {
  for (const bool xl : {true, false})
    for (const bool dense : {true, false}) {
      ModelConfig config = small_config();
      if (!xl) {
        config.attention = Causal{2, 12, true};
        config.positions = Positions::learned;
        config.head.bias = false;
      }
      if (dense) config.feed_forward = Dense{40};
      if (dense && !xl) config = rotary_config();
      const auto model = some_model(config);
      std::int64_t total = 0;
      for (const auto& [name, value] : trainable_parameters(*model).tensors) total += value.numel();
      EXPECT_EQ(total, count_parameters(config).total);
    }
}

TEST(LanguageModel, FirstLossIsThatOfThePublishedInitialisation) {
  // ln V + 1/6 (specs/sparse-ffn 3.1).
  ModelConfig config = small_config();
  config.vocab_size = 8000;
  config.dim = 64;
  config.context = 128;
  const auto model = some_model(config);
  Memory memory;
  const Tensor ids = some_ids(4, 129, 8000);
  const auto loss =
      model->loss({ids.narrow(1, 0, 128), ids.narrow(1, 1, 128)}, memory, test_pass());
  EXPECT_NEAR(loss.token_mean.item<double>(), std::log(8000.0) + 1.0 / 6, 0.1);
}

TEST(LanguageModel, StepSizeDoesNotChangeLogits) {
  const auto model = some_model(small_config());
  const Tensor ids = some_ids(2, 61, 50);  // more than the memory of 4 blocks
  const Tensor whole = logits_in_steps(*model, ids, {61});
  for (const std::vector<std::int64_t>& steps :
       {std::vector<std::int64_t>{1}, std::vector<std::int64_t>{8},
        std::vector<std::int64_t>{3, 1, 11}})
    expect_close(logits_in_steps(*model, ids, steps), whole, 1e-5,
                 "steps of " + std::to_string(steps[0]));
}

// One training forward pass per block, memory carried on.
std::vector<Tensor> logits_by_training_blocks(const LanguageModel& model, const Tensor& ids) {
  const torch::NoGradGuard no_grad;
  const std::int64_t block = model.config().context;
  const Pass pass = test_pass();
  Memory memory;
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < ids.size(1); first += block) {
    ForwardState state(pass);
    state.memory = &memory;
    parts.push_back(model.logits(model.hidden(ids.narrow(1, first, block), state), pass));
  }
  return parts;
}

TEST(LanguageModel, TwoBlocksWithMemoryEqualOneCausalPass) {
  ModelConfig config = small_config();
  const auto model = some_model(config);
  config.context = 24;  // one block of the whole length: nothing but causality limits it
  const auto wide = some_model(config);
  const Tensor ids = some_ids(2, 24, 50);
  const Tensor causal = logits_in_steps(*wide, ids, {24});
  const auto blocks = logits_by_training_blocks(*model, ids);
  expect_close(blocks[0], causal.narrow(1, 0, 8), 1e-5, "first block");
  expect_close(blocks[1], causal.narrow(1, 8, 8), 1e-5, "second block");
  EXPECT_GT((blocks[2] - causal.narrow(1, 16, 8)).abs().max().item<double>(), 1e-3)
      << "a third block sees one block of memory only";
  config.context = 8;
  xl(config).memory_blocks = 4;
  const auto remembering = some_model(config);
  expect_close(logits_by_training_blocks(*remembering, ids)[2], causal.narrow(1, 16, 8), 1e-5,
               "four blocks of memory");
}

TEST(RotaryModel, StepsDoNotChangeWhatAPositionSees) {
  for (const checkpoint::HeadNorm norm :
       {checkpoint::HeadNorm::none, checkpoint::HeadNorm::head, checkpoint::HeadNorm::all})
    for (const std::int64_t window : {0, 5}) {
      ModelConfig config = rotary_config();
      config.attention.get_if<checkpoint::Rotary>()->head_norm = norm;
      config.attention.get_if<checkpoint::Rotary>()->window = window;
      const auto model = some_model(config);
      const Tensor ids = some_ids(2, 24, 50);
      const Tensor whole = logits_in_steps(*model, ids, {24});
      for (const std::int64_t step : {1, 3, 7})
        expect_close(logits_in_steps(*model, ids, std::vector<std::int64_t>(24 / step + 1, step)),
                     whole, 1e-5, concat("steps of ", step));
      Memory memory;
      const Pass pass = test_pass();
      ForwardState state(pass);
      state.memory = &memory;
      expect_close(model->logits(model->hidden(ids, state), pass), whole, 1e-5,
                   "as training sees it");
    }
}

TEST(RotaryModel, AWindowIsHowFarAPositionSees) {
  ModelConfig config = rotary_config();
  config.layers = 1;
  const auto model = some_model(config);
  Tensor ids = some_ids(1, 24, 50), other = ids.clone();
  other[0][3] = (other[0][3] + 1) % 50;
  const Tensor change =
      (logits_in_steps(*model, ids, {24}) - logits_in_steps(*model, other, {24})).abs().amax(-1)[0];
  for (std::int64_t t = 0; t < 24; ++t)
    EXPECT_EQ(change[t].item<float>() > 0, t >= 3 && t < 3 + 5) << t;
}

// Sequences at different positions, each with a cache of its own, in one pass.
TEST(LanguageModel, TextsOfDifferentLengthsInOnePassAreWhatEachIsAlone) {
  ModelConfig learned = small_config(), latent = rotary_config();
  learned.attention = checkpoint::Causal{2, 12};
  learned.positions = checkpoint::Positions::learned;
  learned.context = 32;
  checkpoint::Latent attention;
  attention.heads = 2, attention.kv_rank = 8, attention.head_dim = 12, attention.rope_dim = 4;
  attention.value_dim = 12;
  latent.attention = attention;
  for (const ModelConfig& config : {small_config(), rotary_config(), learned, latent}) {
    const torch::NoGradGuard no_grad;
    const auto model = some_model(config);
    const Tensor ids = some_ids(3, 24, 50);
    const std::vector<std::int64_t> lengths = {3, 17, 9};
    const Pass pass = test_pass();
    std::vector<Cache> caches;
    std::vector<Tensor> alone;
    ForwardState together(pass);
    for (std::int64_t b = 0; b < 3; ++b) {
      const std::int64_t length = lengths[static_cast<std::size_t>(b)];
      alone.push_back(logits_in_steps(*model, ids.narrow(0, b, 1), {24}).narrow(1, length, 5));
      caches.push_back(model->make_cache());
      ForwardState state(pass);
      state.caches = {&caches.back()};
      model->hidden(ids.narrow(0, b, 1).narrow(1, 0, length), state);
    }
    for (Cache& cache : caches) together.caches.push_back(&cache);
    std::vector<Tensor> parts;
    for (std::int64_t t = 0; t < 5; ++t) {
      std::vector<Tensor> next;
      for (std::int64_t b = 0; b < 3; ++b)
        next.push_back(ids.narrow(0, b, 1).narrow(1, lengths[static_cast<std::size_t>(b)] + t, 1));
      parts.push_back(model->logits(model->hidden(torch::cat(next), together), pass));
    }
    expect_close(torch::cat(parts, 1), torch::cat(alone), 1e-5,
                 concat(checkpoint::heads_of(config.attention), " heads of ",
                        checkpoint::head_dim_of(config.attention)));
  }
}

// The whole text, its first token aside, where windows fill it; and of several streams what each reads.
TEST(StreamsLoss, IsThatOfWindowsThatGoOn) {
  const auto tokenizer = text::make_byte_tokenizer();
  ModelConfig config = small_config();
  config.vocab_size = tokenizer->vocab_size();
  const auto model = some_model(config);
  std::string text;
  for (int i = 0; i < 96; ++i) text += static_cast<char>('a' + i * i % 23);
  const test::Texts corpus({text});
  const Pass pass = test_pass();
  const CorpusLoss one = streams_loss(*model, *tokenizer, corpus, 1, -1, pass),
                   whole = corpus_loss(*model, *tokenizer, corpus, pass);
  EXPECT_EQ(one.tokens, 96);
  EXPECT_EQ(one.bytes, 96);
  EXPECT_NEAR(one.nats, whole.nats, 1e-4);
  // 12 windows of 8: 5 streams read two each, from their own first window on.
  const CorpusLoss five = streams_loss(*model, *tokenizer, corpus, 5, -1, pass);
  double nats = 0;
  for (std::size_t stream = 0; stream < 5; ++stream) {
    const torch::NoGradGuard no_grad;
    std::vector<text::TokenId> ids = {tokenizer->end_of_text()};
    tokenizer->encode(text, ids);
    const Tensor all = torch::tensor(at::makeArrayRef(ids), torch::kInt64).view({1, -1});
    const Tensor read = all.narrow(1, static_cast<std::int64_t>(stream) * 16, 17);
    Cache cache = model->make_cache();
    ForwardState state(pass);
    state.caches = {&cache};
    nats +=
        model
            ->token_losses(model->hidden(read.narrow(1, 0, 16), state), read.narrow(1, 1, 16), pass)
            .sum()
            .item<double>();
  }
  EXPECT_EQ(five.tokens, 80);
  EXPECT_NEAR(five.nats, nats, 1e-4);
  EXPECT_THROW(streams_loss(*model, *tokenizer, corpus, 13, -1, pass), Error) << "12 windows";
}

TEST(StreamsLoss, IsOfTransformerXlAlone) {
  const auto tokenizer = text::make_byte_tokenizer();
  ModelConfig config = rotary_config();
  config.vocab_size = tokenizer->vocab_size();
  const test::Texts corpus({"some text that is long enough"});
  EXPECT_THROW(streams_loss(*some_model(config), *tokenizer, corpus, 1, -1, test_pass()), Error);
}

TEST(LanguageModel, CacheAndTrainingMemoryAgree) {
  ModelConfig config = small_config();
  xl(config).eval_memory_blocks = xl(config).memory_blocks = 1;
  const auto model = some_model(config);
  const Tensor ids = some_ids(2, 32, 50);
  expect_close(logits_in_steps(*model, ids, {5}),
               torch::cat(logits_by_training_blocks(*model, ids), 1), 1e-5);
}

TEST(LanguageModel, LossMovesTheMemoryOnAsTheBlocksDo) {
  const auto model = some_model(small_config());
  const Tensor ids = some_ids(2, 25, 50);
  Memory memory;
  std::vector<Tensor> losses;
  for (std::int64_t first = 0; first < 24; first += 8)
    losses.push_back(
        model->loss({ids.narrow(1, first, 8), ids.narrow(1, first + 1, 8)}, memory, test_pass())
            .token_mean);
  const auto blocks = logits_by_training_blocks(*model, ids.narrow(1, 0, 24));
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const Tensor targets = ids.narrow(1, static_cast<std::int64_t>(i) * 8 + 1, 8).reshape({-1});
    const Tensor want = torch::cross_entropy_loss(blocks[i].reshape({-1, 50}), targets);
    EXPECT_NEAR(losses[i].item<double>(), want.item<double>(), 1e-5) << "block " << i;
  }
}

TEST(LanguageModel, MemoryGetsNoGradientButItsProjectionsDo) {
  const auto model = some_model(small_config());
  const Tensor ids = some_ids(1, 17, 50);
  Memory memory;
  const torch::AutoGradMode grad(true);
  model->loss({ids.narrow(1, 0, 8), ids.narrow(1, 1, 8)}, memory, test_pass());
  for (const Tensor& m : memory.layers_BMD) EXPECT_FALSE(m.requires_grad());
  model->loss({ids.narrow(1, 8, 8), ids.narrow(1, 9, 8)}, memory, test_pass()).total.backward();
  for (const auto& [name, value] : trainable_parameters(*model).tensors) {
    ASSERT_TRUE(value.grad().defined()) << name;
    EXPECT_GT(value.grad().abs().max().item<double>(), 0) << name;
  }
}

TEST(LanguageModel, HeadLossEqualsTheNaiveExpressionAndItsGradients) {
  for (const std::int64_t rows : {5, 700}) {
    const Tensor x = testing::fill_double(1, {rows, 12}).requires_grad_(),
                 w = testing::fill_double(2, {37, 12}).requires_grad_(),
                 b = testing::fill_double(3, {37}).requires_grad_();
    const Tensor targets = torch::arange(rows) % 37;
    const Tensor want = torch::cross_entropy_loss(x.matmul(w.t()) + b, targets);
    (3 * want).backward();
    const auto copy = [](const Tensor& t) {
      return t.detach().to(torch::kFloat32).requires_grad_();
    };
    const Tensor xf = copy(x), wf = copy(w), bf = copy(b);
    const auto got = ops::head_loss(xf, make_dense_weight(wf), bf, targets, test_pass());
    (3 * got.mean).backward();
    EXPECT_NEAR(got.mean.item<double>(), want.item<double>(), 1e-5);
    expect_close(xf.grad(), x.grad(), 1e-6, "x");
    expect_close(wf.grad(), w.grad(), 1e-5, "weight");
    expect_close(bf.grad(), b.grad(), 1e-5, "bias");
  }
}

TEST(LanguageModel, HeadWhoseBiasAloneTrainsGivesItsGradient) {
  const Tensor x = testing::fill(1, {9, 12}), w = testing::fill(2, {37, 12}),
               targets = torch::arange(9) % 37;
  const Tensor naive = testing::fill(3, {37}).requires_grad_(),
               bias = testing::fill(3, {37}).requires_grad_();
  torch::cross_entropy_loss(x.matmul(w.t()) + naive, targets).backward();
  ops::head_loss(x, make_dense_weight(w), bias, targets, test_pass()).mean.backward();
  ASSERT_TRUE(bias.grad().defined());
  expect_close(bias.grad(), naive.grad(), 1e-6);
}

// A table for all distances would take 2 * 10^9 * 24 * 4 bytes.
TEST(LanguageModel, AContextOfABillionCostsThePositionsThatThereAre) {
  const torch::NoGradGuard no_grad;
  ModelConfig config = small_config();
  const auto model = some_model(config);
  const Pass pass = test_pass();
  Cache wide = model->make_cache(2'000'000'000), enough = model->make_cache(64);
  for (const std::int64_t step : {3, 40, 1, 1}) {
    const Tensor ids = some_ids(1, step, 50);
    const auto hidden = [&](Cache& cache) {
      ForwardState state(pass);
      state.caches = {&cache};
      return model->hidden(ids, state);
    };
    expect_close(hidden(wide), hidden(enough), 1e-5);
  }
  // Keys, values and the table, each with room for at most twice as many.
  EXPECT_LE(wide.bytes(), 3u * 3 * 2 * 45 * 24 * sizeof(float));
}

TEST(LanguageModel, LayersAreWhatTheRulesSay) {
  ModelConfig config = small_config();
  const auto rule = [&](const char* json) {
    config.rules.emplace_back();
    config.rules.back().read(Json::parse(json), {"test", "rules"});
  };
  rule(R"({"layers": 0, "feed_forward": {"kind": "dense", "width": 40}})");
  rule(R"({"layers": "1::2", "attention": {"kind": "causal", "heads": 3, "head_dim": 4}})");
  const auto model = some_model(config);
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, value] : trainable_parameters(*model).tensors)
    shapes[name] = value.sizes().vec();
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shapes.at("blocks.0.feed_forward.up.weight"), (Shape{40, 24}));
  EXPECT_EQ(shapes.at("blocks.1.feed_forward.experts.up"), (Shape{4, 16, 24}));
  EXPECT_EQ(shapes.at("blocks.1.attention.q.weight"), (Shape{12, 24}));
  EXPECT_FALSE(shapes.contains("blocks.1.attention.scale"));
  EXPECT_TRUE(shapes.contains("blocks.2.attention.scale"));
  const Tensor ids = some_ids(2, 30, 50);
  expect_close(logits_in_steps(*model, ids, {1}), logits_in_steps(*model, ids, {30}), 1e-5);
}

TEST(LanguageModel, TiedOutputLayerIsTheEmbeddingAndGetsBothGradients) {
  ModelConfig config = small_config();
  config.tied = true;
  const auto tied = some_model(config);
  config.tied = false;
  const auto apart = some_model(config);
  EXPECT_EQ(count_parameters(*tied).total, count_parameters(*apart).total - 50 * 24);
  const auto tensor = [](LanguageModel& model, const std::string& wanted) {
    for (auto& [name, value] : trainable_parameters(model).tensors)
      if (name == wanted) return value;
    return Tensor();
  };
  Tensor head = tensor(*apart, "head.weight"), embedding = tensor(*apart, "embedding.weight");
  EXPECT_FALSE(tensor(*tied, "head.weight").defined());
  {
    const torch::NoGradGuard no_grad;
    head.copy_(embedding);
  }
  const Tensor ids = some_ids(2, 9, 50);
  for (LanguageModel* model : {tied.get(), apart.get()}) {
    Memory memory;
    model->loss({ids.narrow(1, 0, 8), ids.narrow(1, 1, 8)}, memory, test_pass()).total.backward();
  }
  expect_close(tensor(*tied, "embedding.weight").grad(), embedding.grad() + head.grad(), 1e-6);
}

// What an observer is told, in the order of the path.
TEST(LanguageModel, ObserversSeeInputsAssignmentsAndBlocksByName) {
  class Recorder final : public Observer {
   public:
    bool wants(const std::string& name) const override { return name.starts_with("blocks.1."); }
    void saw(const std::string& name, const Tensor& x, const ops::StackRows& rows) override {
      lines.push_back(concat(name, " ", x.size(-1), rows.routes ? " routed" : ""));
    }
    void routed(const std::string& name, const ops::Assignment&) override { lines.push_back(name); }
    void left(const std::string& name, const Tensor&) override { lines.push_back(name); }
    std::vector<std::string> lines;
  } recorder;
  const auto model = some_model(small_config());
  const torch::NoGradGuard no_grad;
  const auto logits = [&](Observer* observer) {
    Pass pass = test_pass();
    pass.observer = observer;
    Cache cache = model->make_cache();
    ForwardState state(pass);
    state.caches = {&cache};
    return model->logits(model->hidden(some_ids(1, 8, 50), state), pass);
  };
  const Tensor watched = logits(&recorder);
  const std::vector<std::string> all = recorder.lines;
  const auto at = [&](const std::string& line) {
    return std::find(all.begin(), all.end(), line) - all.begin();
  };
  EXPECT_LT(at("blocks.0"), at("blocks.1.attention.q.weight 24"));
  EXPECT_LT(at("blocks.1.attention.out.weight 24"), at("blocks.1.feed_forward.router.weight 24"));
  EXPECT_LT(at("blocks.1.feed_forward.router.weight 24"), at("blocks.1.feed_forward"));
  EXPECT_LT(at("blocks.1.feed_forward"), at("blocks.1.feed_forward.experts.up 24 routed"));
  EXPECT_LT(at("blocks.1.feed_forward.experts.up 24 routed"),
            at("blocks.1.feed_forward.experts.down 16 routed"));
  EXPECT_LT(at("blocks.1.feed_forward.experts.down 16 routed"), at("blocks.1"));
  EXPECT_EQ(all.back(), "blocks.2");
  expect_close(watched, logits(nullptr), 1e-6, "watching changes nothing");
}

TEST(LanguageModel, DropoutIsDrawnByStepAndIsInactiveInEvaluation) {
  ModelConfig config = small_config();
  config.dropout = 0.3;
  const auto model = some_model(config);
  const Tensor ids = some_ids(2, 9, 50);
  const auto loss = [&](bool train, std::uint64_t step) {
    Memory memory;
    Pass pass = test_pass(train);
    pass.step = step;
    return model->loss({ids.narrow(1, 0, 8), ids.narrow(1, 1, 8)}, memory, pass)
        .token_mean.item<double>();
  };
  EXPECT_EQ(loss(true, 1), loss(true, 1));
  EXPECT_NE(loss(true, 1), loss(true, 2));
  EXPECT_EQ(loss(false, 1), loss(false, 2));
}

TEST(LanguageModel, Bf16ProductsStayCloseToFloat32) {
  const auto model = some_model(small_config());
  const Tensor ids = some_ids(2, 8, 50);
  const torch::NoGradGuard no_grad;
  const auto run = [&](kernels::Precision precision) {
    Pass pass = test_pass();
    pass.precision = precision;
    Cache cache = model->make_cache();
    ForwardState state(pass);
    state.caches = {&cache};
    return model->logits(model->hidden(ids, state), pass);
  };
  const Tensor exact = run(kernels::Precision::f32), rounded = run(kernels::Precision::bf16);
  EXPECT_FALSE(exact.equal(rounded));
  expect_close(rounded, exact, 3e-2);
}

}  // namespace
}  // namespace mote::model
