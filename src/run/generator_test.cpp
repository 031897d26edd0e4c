#include "run/generator.h"

#include <algorithm>

#include "base/check.h"
#include "run/evaluator.h"
#include "tests/support/models.h"
#include "text/bpe.h"
#include "text/utf8.h"

namespace mote::run {
namespace {

using testing::test_pass;

enum class Kind { transformer_xl, learned_positions };

std::unique_ptr<model::Model> make_model(Kind kind) {
  checkpoint::ModelConfig config;
  config.vocab_size = text::make_byte_tokenizer()->vocab_size();
  config.layers = 2;
  config.dim = 16;
  config.context = 12;
  config.attention = checkpoint::TransformerXl{2, 8};
  if (kind == Kind::learned_positions) {
    config.attention = checkpoint::Causal{2, 8};
    config.positions = checkpoint::Positions::learned;
  }
  config.feed_forward = checkpoint::Mixture{4, 8, {2, 0, 0}};
  auto model = model::make_model(config);
  initialize(*model, 1);
  return model;
}

GenerateOptions some(std::int64_t new_tokens, double temperature = 1) {
  GenerateOptions options;
  options.new_tokens = new_tokens;
  options.sampler.temperature = temperature;
  options.sampler.top_k = 0, options.sampler.top_p = 1;
  return options;
}

Generated run(const model::Model& model, const text::Tokenizer& tokenizer,
              const model::TextBounds& bounds, const std::string& prompt,
              const GenerateOptions& options, std::vector<std::string>* pieces = nullptr) {
  Generated result;
  generate(
      model, tokenizer, bounds, {&prompt, 1}, options, test_pass(),
      [&](const std::string& piece) {
        if (pieces) pieces->push_back(piece);
      },
      [&](const Generated& g) { result = g; });
  return result;
}

Generated run(const model::Model& model, const std::string& prompt, const GenerateOptions& options,
              std::vector<std::string>* pieces = nullptr) {
  const auto tokenizer = text::make_byte_tokenizer();
  return run(model, *tokenizer, model::own_bounds(*tokenizer), prompt, options, pieces);
}

TEST(Generator, TextIsThatOfTheModelsOwnMostProbableTokens) {
  const auto model = make_model(Kind::transformer_xl);
  const Generated g = run(*model, "abc", some(15, 0));
  // The same without a cache, memory or steps: the whole text is read anew for every token.
  const torch::NoGradGuard no_grad;
  std::vector<text::TokenId> ids = {text::make_byte_tokenizer()->end_of_text(), 'a', 'b', 'c'};
  for (const text::TokenId want : g.ids) {
    model::Cache cache = model->make_cache();
    const Tensor all = torch::tensor(at::ArrayRef<text::TokenId>(ids), torch::kInt64).view({1, -1});
    const model::Pass pass = test_pass();
    model::ForwardState state(pass);
    state.caches = {&cache};
    const Tensor logits = model->logits(model->hidden(all, state), pass);
    ASSERT_EQ(logits[0][-1].argmax().item<std::int64_t>(), want) << ids.size();
    ids.push_back(want);
  }
  EXPECT_EQ(g.prompt_tokens, 4);
  EXPECT_EQ(g.ids.size(), 15u);
}

TEST(Generator, PromptStepsDoNotChangeAToken) {
  const auto model = make_model(Kind::transformer_xl);
  GenerateOptions options = some(20);
  const std::string prompt = "a prompt longer than a block of twelve";
  const auto whole = run(*model, prompt, options).ids;
  for (const std::int64_t step : {1, 5, 12}) {
    options.prompt_step = step;
    EXPECT_EQ(run(*model, prompt, options).ids, whole) << step;
  }
}

TEST(Generator, PiecesAreValidUtf8AndMakeUpTheText) {
  const auto model = make_model(Kind::transformer_xl);
  std::vector<std::string> pieces;
  const Generated g = run(*model, "x", some(200), &pieces);
  std::string joined;
  for (const std::string& piece : pieces) {
    EXPECT_EQ(text::valid_utf8_prefix(piece), piece.size());
    joined += piece;
  }
  EXPECT_EQ(joined, g.text);
}

TEST(Generator, StopTextsAcrossTokensNeverComeOut) {
  const auto model = make_model(Kind::transformer_xl);
  const std::string free = run(*model, "x", some(60)).text;
  for (const std::size_t length : {1, 2, 5}) {
    GenerateOptions options = some(60);
    options.stop = {"never said by this model", free.substr(20, length)};
    std::string joined;
    std::vector<std::string> pieces;
    const Generated g = run(*model, "x", options, &pieces);
    for (const std::string& piece : pieces) joined += piece;
    EXPECT_EQ(joined, free.substr(0, free.find(options.stop[1])));
    EXPECT_EQ(g.text, joined);
    EXPECT_EQ(g.stop_reason, "stop");
  }
}

TEST(Generator, AbsolutePositionsEndTheTextWhereTheyEnd) {
  const auto model = make_model(Kind::learned_positions);
  const Generated g = run(*model, "12345", some(100));
  EXPECT_EQ(g.stop_reason, "context");
  EXPECT_EQ(g.ids.size(), 7u) << "6 + 6 positions are read, the token after the last is still told";
  EXPECT_EQ(run(*model, "12345", some(7)).stop_reason, "length");
  EXPECT_EQ(run(*model, "12345678901", some(5)).ids.size(), 1u);
  EXPECT_THROW(run(*model, "123456789012", some(5)), Error);
}

TEST(Generator, AnyOfTheEndsEndsAText) {
  const auto model = make_model(Kind::transformer_xl);
  const auto tokenizer = text::make_byte_tokenizer();
  const std::vector<text::TokenId> ids = run(*model, "x", some(40)).ids;
  model::TextBounds bounds{{tokenizer->end_of_text()}, {ids[7], ids[20]}};
  std::sort(bounds.ends.begin(), bounds.ends.end());
  const auto first =
      std::find_if(ids.begin(), ids.end(), [&](text::TokenId id) { return bounds.ends_text(id); });
  const auto end = [&](const GenerateOptions& options) {
    return run(*model, *tokenizer, bounds, "x", options);
  };
  const Generated g = end(some(40));
  EXPECT_EQ(g.stop_reason, "end_of_text");
  EXPECT_EQ(g.ids, std::vector<text::TokenId>(ids.begin(), first));
  GenerateOptions options = some(40);
  options.ignore_ends = true;
  const Generated on = end(options);
  EXPECT_EQ(on.stop_reason, "length");
  EXPECT_TRUE(std::none_of(on.ids.begin(), on.ids.end(),
                           [&](text::TokenId id) { return bounds.ends_text(id); }));
}

TEST(Generator, ATextWithoutABeginningNeedsAPrompt) {
  const auto model = make_model(Kind::transformer_xl);
  const auto tokenizer = text::make_byte_tokenizer();
  EXPECT_THROW(run(*model, *tokenizer, {{}, {}}, "", some(3)), Error);
  EXPECT_EQ(run(*model, *tokenizer, {{}, {}}, "ab", some(3)).prompt_tokens, 2);
}

// Texts of several lengths that end at different times and make room for others.
TEST(Generator, TextsSideBySideAreWhatEachIsAlone) {
  const auto tokenizer = text::make_byte_tokenizer();
  for (const Kind kind : {Kind::transformer_xl, Kind::learned_positions}) {
    const auto model = make_model(kind);
    const std::vector<std::string> prompts = {"one", "a second", "3", "the fourth", "", "six"};
    GenerateOptions options = some(20);
    options.stop = {run(*model, prompts[1], some(20)).text.substr(2, 1)};
    std::vector<Generated> alone;
    for (const std::string& prompt : prompts) alone.push_back(run(*model, prompt, options));
    for (const std::int64_t at_once : {1, 3, 8}) {
      options.at_once = at_once;
      std::vector<Generated> texts;
      std::vector<std::string> streamed(1);
      generate(
          *model, *tokenizer, model::own_bounds(*tokenizer), prompts, options, test_pass(),
          [&](const std::string& piece) { streamed.back() += piece; },
          [&](const Generated& g) {
            texts.push_back(g);
            streamed.emplace_back();
          });
      ASSERT_EQ(texts.size(), prompts.size());
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        EXPECT_EQ(texts[i].ids, alone[i].ids) << at_once << " at once, text " << i;
        EXPECT_EQ(texts[i].stop_reason, alone[i].stop_reason);
        EXPECT_EQ(texts[i].prompt_tokens, alone[i].prompt_tokens);
        EXPECT_EQ(streamed[i], alone[i].text) << "in the order of the prompts";
      }
    }
  }
}

// What is said next to a text that was read goes on from it, and is what reading anew would say.
TEST(Session, ReadsOnlyWhatIsNew) {
  const auto model = make_model(Kind::transformer_xl);
  const auto tokenizer = text::make_byte_tokenizer();
  const model::TextBounds bounds = model::own_bounds(*tokenizer);
  const auto ids_of = [&](const std::string& text) {
    std::vector<text::TokenId> ids = bounds.before;
    tokenizer->encode(text, ids);
    return ids;
  };
  Session session(*model, *tokenizer, bounds, some(6, 0), test_pass());
  std::vector<text::TokenId> ids = ids_of("a question");
  Generated g = session.go_on(ids, {});
  EXPECT_EQ(g.prompt_read, 11);
  ids.insert(ids.end(), g.ids.begin(), g.ids.end());
  tokenizer->encode(", and more", ids);
  const Generated next = session.go_on(ids, {});
  EXPECT_EQ(next.prompt_read, 11) << "ten bytes, and the token drawn last";
  Session fresh(*model, *tokenizer, bounds, some(6, 0), test_pass());
  EXPECT_EQ(fresh.go_on(ids, {}).ids, next.ids);
  // Another text is read from its beginning.
  const Generated other = session.go_on(ids_of("something else"), {});
  EXPECT_EQ(other.prompt_read, other.prompt_tokens);
  EXPECT_EQ(other.ids, run(*model, "something else", some(6, 0)).ids);
}

TEST(MemoryForContext, IsWhatTheBlockLeaves) {
  checkpoint::ModelConfig config;
  config.context = 12;
  EXPECT_EQ(memory_for_context(config, 0), -1);
  EXPECT_EQ(memory_for_context(config, 12), 0);
  EXPECT_EQ(memory_for_context(config, 40), 28);
  EXPECT_THROW(memory_for_context(config, 11), Error);
  config.positions = checkpoint::Positions::learned;
  EXPECT_THROW(memory_for_context(config, 40), Error);
}

}  // namespace
}  // namespace mote::run
