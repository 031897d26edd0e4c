#include "text/pairs.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "tests/support/files.h"
#include "text/pair_batches.h"
#include "text/sentencepiece.h"

namespace mote::text {
namespace {

// Ids are numbers; 0 is padding, 1 the end, from 900 down to 801 the sentinels <extra_id_0>, ....
class Numbers final : public Tokenizer {
 public:
  explicit Numbers(int sentinels = 100) : sentinels_(sentinels) {
    roles_.padding = 0, roles_.end = 1;
  }
  int vocab_size() const override { return 901; }
  void encode(std::string_view text, std::vector<TokenId>& ids, Specials) const override {
    for (const char c : text) ids.push_back(c);
  }
  std::string_view bytes(TokenId) const override { return ""; }
  bool special(TokenId id) const override { return id < 2 || id > 900 - sentinels_; }
  std::optional<TokenId> find(std::string_view name) const override {
    for (int i = 0; i < sentinels_; ++i)
      if (name == concat("<extra_id_", i, ">")) return 900 - i;
    return std::nullopt;
  }
  const TokenRoles& roles() const override { return roles_; }
  TokenId end_of_text() const override { return 1; }
  void save(const std::filesystem::path&) const override {}

 private:
  const int sentinels_;
  TokenRoles roles_;
};

std::vector<TokenId> numbers(std::int64_t count) {
  std::vector<TokenId> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), 2);
  return ids;
}

// The text, its spans put back where their sentinels stand.
std::vector<TokenId> restored(const Pair& pair, bool qmoe) {
  std::map<TokenId, std::vector<TokenId>> spans;
  TokenId sentinel = 0;
  for (std::size_t i = 0; i + 1 < pair.target.size(); ++i)
    if (pair.target[i] > 800)
      spans[sentinel = pair.target[i]];
    else
      spans[sentinel].push_back(pair.target[i]);
  EXPECT_EQ(pair.target.back(), qmoe ? sentinel - 1 : 1);
  EXPECT_EQ(pair.source.back(), 1);
  std::vector<TokenId> text;
  for (std::size_t i = 0; i + 1 < pair.source.size(); ++i)
    if (pair.source[i] > 800)
      text.insert(text.end(), spans.at(pair.source[i]).begin(), spans.at(pair.source[i]).end());
    else
      text.push_back(pair.source[i]);
  return text;
}

TEST(SpanCorruption, CutsAsManySpansAsT5) {
  const SpanCorruption corrupt(Numbers(), {});
  // specs/checkpoints 2.4: 568 tokens, 85 of them noise in 28 spans.
  const Pair pair = corrupt(numbers(568), Rng(1, Purpose::test));
  EXPECT_EQ(pair.source.size(), 512u);
  EXPECT_EQ(pair.target.size(), 114u);
  EXPECT_EQ(corrupt.most_tokens(512, 114), 568);
  EXPECT_EQ(corrupt.most_tokens(512, 512), 568);
  const SpanCorruption qmoe(Numbers(), {}, SpanCorruption::Form::qmoe);
  EXPECT_EQ(qmoe(numbers(568), Rng(1, Purpose::test)).target.size(), 114u);
}

TEST(SpanCorruption, LosesNothingAndBeginsWithWhatIsKept) {
  for (const auto form : {SpanCorruption::Form::t5, SpanCorruption::Form::qmoe})
    for (const SpanConfig& config : {SpanConfig{}, SpanConfig{0.5, 1}, SpanConfig{0.9, 4}}) {
      const SpanCorruption corrupt(Numbers(), config, form);
      for (const std::int64_t count : {2, 3, 7, 40, 90}) {
        const std::vector<TokenId> text = numbers(count);
        const Pair pair = corrupt(text, Rng(7, Purpose::test, static_cast<std::uint64_t>(count)));
        EXPECT_EQ(restored(pair, form == SpanCorruption::Form::qmoe), text) << count;
        EXPECT_LT(pair.source.front(), 800);
        EXPECT_EQ(pair.target.front(), 900);
      }
    }
}

TEST(SpanCorruption, CutsEveryWayEquallyOften) {
  // Six tokens, three cut out in two spans: 2 ways of cutting noise, 2 of cutting what is kept.
  const SpanCorruption corrupt(Numbers(), {0.5, 1.5});
  std::map<std::vector<TokenId>, int> seen;
  constexpr int kDraws = 4000;
  for (std::uint64_t i = 0; i < kDraws; ++i)
    ++seen[corrupt(numbers(6), Rng(3, Purpose::test, i)).source];
  EXPECT_EQ(seen.size(), 4u);
  for (const auto& [source, count] : seen) EXPECT_NEAR(count, kDraws / 4, 150);
}

TEST(SpanCorruption, RefusesWhatItCannotDo) {
  EXPECT_THROW(SpanCorruption(Numbers(0), {}), Error);
  EXPECT_THROW(SpanCorruption(Numbers(3), {})(numbers(568), Rng(1, Purpose::test)), Error);
  EXPECT_THROW(SpanCorruption(Numbers(), {}).most_tokens(2, 2), Error);
}

// A prepared folder of documents, by a tokenizer that can be read again.
class PreparedText : public ::testing::Test {
 protected:
  std::shared_ptr<const TokenFile> prepare_lines(const std::string& lines,
                                                 const TextFormat& format) {
    const fs::path file = folder_.path() / "text.jsonl";
    write_file(file, lines);
    const auto corpus = open_corpus(file.string(), 0, format);
    const auto tokenizer = train_unigram(*corpus, 280, 100);
    StagedFolder out(folder_.path() / "tokens");
    prepare(*corpus, *tokenizer, "text", out, 1);
    return std::make_shared<const TokenFile>(folder_.path() / "tokens");
  }
  static std::string pairs(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i)
      lines += concat("{\"source\": \"what is ", i, " and ", i, R"(", "target": ")",
                      std::string(static_cast<std::size_t>(i + 1), 'x'), "\"}\n");
    return lines;
  }
  const test::TemporaryFolder folder_;
};

TEST_F(PreparedText, PairBatchesHaveEveryPairOnceInAnEpoch) {
  const auto tokens = prepare_lines(pairs(7), {"source", false, "target"});
  PairOptions options;
  options.task = Task::pairs;
  options.source_tokens = 100, options.target_tokens = 100;
  const auto batches = make_pair_batches(tokens, *tokens->tokenizer(), 2, options);
  EXPECT_EQ(batches->steps_per_epoch(), 3);
  const auto tokenizer = tokens->tokenizer();
  std::vector<std::vector<std::string>> epochs;
  for (const std::int64_t first : {0, 3}) {
    std::vector<std::string> sources;
    for (std::int64_t step = first; step < first + 3; ++step) {
      const Batch batch = batches->at(step);
      EXPECT_EQ(batch.starts_epoch, step == first);
      const std::size_t source = batch.source.size() / 2, target = batch.ids.size() / 2;
      for (std::size_t b = 0; b < 2; ++b) {
        const std::size_t length = batch.source_lengths.empty()
                                       ? source
                                       : static_cast<std::size_t>(batch.source_lengths[b]);
        const std::span<const TokenId> ids(batch.source.data() + b * source, length);
        EXPECT_EQ(ids.back(), end_token(*tokenizer));
        sources.push_back(tokenizer->decode(ids.first(length - 1)));
        EXPECT_EQ(batch.ids[b * target], start_token(*tokenizer));
        for (std::size_t t = 0; t + 1 < target; ++t) {
          if (batch.targets[b * target + t + 1] == kNoTarget) break;
          EXPECT_EQ(batch.ids[b * target + t + 1], batch.targets[b * target + t]);
        }
      }
    }
    std::sort(sources.begin(), sources.end());
    EXPECT_EQ(std::unique(sources.begin(), sources.end()) - sources.begin(), 6);
    epochs.push_back(sources);
  }
  const Batch again = make_pair_batches(tokens, *tokens->tokenizer(), 2, options)->at(4);
  EXPECT_EQ(again.source, batches->at(4).source);
}

TEST_F(PreparedText, LongPairsAreCutAndEndAllTheSame) {
  const auto tokens = prepare_lines(pairs(4), {"source", false, "target"});
  PairOptions options;
  options.task = Task::pairs;
  options.source_tokens = 4, options.target_tokens = 3;
  const Batch batch = make_pair_batches(tokens, *tokens->tokenizer(), 4, options)->at(0);
  EXPECT_EQ(batch.source.size(), 16u);
  for (std::size_t b = 0; b < 4; ++b)
    EXPECT_EQ(batch.source[b * 4 + 3], end_token(*tokens->tokenizer()));
}

TEST_F(PreparedText, SpanBatchesDependOnTheStepAloneAndDifferByEpoch) {
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += concat("{\"text\": \"sentence ", i, " of many others\"}\n");
  const auto tokens = prepare_lines(lines, {});
  PairOptions options;
  options.source_tokens = 24, options.target_tokens = 16;
  options.spans = {0.3, 1.5};
  const auto batches = make_pair_batches(tokens, *tokens->tokenizer(), 3, options);
  const std::int64_t epoch = batches->steps_per_epoch();
  ASSERT_GE(epoch, 2);
  const Batch first = batches->at(0),
              again = make_pair_batches(tokens, *tokens->tokenizer(), 3, options)->at(0);
  EXPECT_EQ(first.source, again.source);
  EXPECT_EQ(first.source.size() % 3, 0u);
  EXPECT_TRUE(first.source_lengths.empty());
  EXPECT_NE(batches->at(epoch).source, first.source) << "other spans in the next epoch";
  EXPECT_EQ(batches->tokens_per_step(),
            static_cast<std::int64_t>(first.source.size() + first.targets.size()));
}

TEST_F(PreparedText, PairsAreReadFromLinesWithBothTexts) {
  const auto refused = [&](const std::string& lines, const std::string& name) {
    write_file(folder_.path() / name, lines);
    EXPECT_THROW(open_corpus((folder_.path() / name).string(), 0, {"source", false, "target"}),
                 Error)
        << lines;
  };
  refused("{\"source\": \"a\"}\n", "missing.jsonl");
  refused("{\"source\": \"a\", \"target\": \"\"}\n", "empty.jsonl");
  refused("running text\n", "plain.txt");
  EXPECT_THROW(open_corpus("gcide:train", 0, {"source", false, "target"}), Error);
}

}  // namespace
}  // namespace mote::text
