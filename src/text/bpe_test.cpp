#include "text/bpe.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <rapidcheck/gtest.h>

#include "base/check.h"
#include "tests/support/files.h"
#include "tests/support/texts.h"
#include "text/pretokenize.h"
#include "text/tokenizer_model.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using test::Texts;

std::string sample_text() {
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += "It's the " + std::to_string(i * 7919 % 613) + "th router's route,\n\tna\xC3\xAFve " +
            std::string(1 + static_cast<std::size_t>(i % 4), ' ') + "aaaa\xFF\xFE again. ";
  return text;
}

std::unique_ptr<Tokenizer> sample_tokenizer() {
  return train_bpe(Texts({sample_text()}), 400, 1);
}

std::string saved(const Tokenizer& tokenizer) {
  const test::TemporaryFolder folder;
  tokenizer.save(folder.path());
  return read_file(folder.path() / "tokenizer.json");
}

std::unique_ptr<Tokenizer> saved_and_loaded(const Tokenizer& tokenizer) {
  const test::TemporaryFolder folder;
  tokenizer.save(folder.path());
  return load_tokenizer(folder.path());
}

// A merge for each pair of "aa": what two orders of doing them tell apart.
std::unique_ptr<Tokenizer> tokenizer_with(std::vector<Merge> merges, bool ignore_merges = false) {
  TokenizerModel model = byte_model();
  for (const Merge& merge : merges)
    model.tokens.push_back({model.tokens[static_cast<std::size_t>(merge.left)].bytes +
                                model.tokens[static_cast<std::size_t>(merge.right)].bytes,
                            false, false});
  model.merges = std::move(merges);
  model.ignore_merges = ignore_merges;
  return make_tokenizer(std::move(model));
}

using Ids = std::vector<TokenId>;

TEST(Bpe, DoesTheEarliestMergeFirstAndFromTheLeft) {
  const auto t =
      tokenizer_with({{'b', 'c', 257}, {'a', 'b', 258}, {257, 'c', 259}, {'a', 'a', 260}});
  EXPECT_EQ(t->encode("abc"), (Ids{'a', 257}));
  EXPECT_EQ(t->encode("abab"), (Ids{258, 258}));
  EXPECT_EQ(t->encode("abccc"), (Ids{'a', 259, 'c'}));
  EXPECT_EQ(t->encode("aaaaa"), (Ids{260, 260, 'a'}));
}

TEST(Bpe, NeverMergesAcrossPieces) {
  const auto t = tokenizer_with({{'a', ' ', 257}, {'a', '1', 258}, {' ', 'b', 259}});
  EXPECT_EQ(t->encode("a1"), (Ids{'a', '1'}));
  EXPECT_EQ(t->encode("a b"), (Ids{'a', 259}));
}

TEST(Bpe, IgnoringMergesTakesAPieceThatIsATokenWhole) {
  // By the merges, "abc" is a + bc: nothing joins these two.
  const std::vector<Merge> merges = {{'b', 'c', 257}, {'a', 'b', 258}, {258, 'c', 259}};
  EXPECT_EQ(tokenizer_with(merges)->encode("abc"), (Ids{'a', 257}));
  EXPECT_EQ(tokenizer_with(merges, true)->encode("abc abc"), (Ids{259, ' ', 'a', 257}));
}

TEST(Bpe, AppendsToTheIdsThatAreThere) {
  const auto t = sample_tokenizer();
  Ids ids = {256};
  t->encode("the router the router", ids);
  Ids want = t->encode("the router the router");
  want.insert(want.begin(), 256);
  EXPECT_EQ(ids, want);
}

TEST(Bpe, RecognisesNoSpecialTokenInText) {
  const auto t = sample_tokenizer();
  const Ids ids = t->encode("a<|endoftext|>b");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), t->end_of_text()), 0);
  EXPECT_EQ(t->decode(ids), "a<|endoftext|>b");
}

TEST(Bpe, EncodesALongPieceInTimeThatGrowsLikeItsLength) {
  const auto t = sample_tokenizer();
  const std::string text(3'000'000, 'a');  // a quadratic way would take an hour
  const Ids ids = t->encode(text);
  EXPECT_LE(ids.size(), text.size() / 2);
  EXPECT_EQ(t->decode(ids), text);
}

RC_GTEST_PROP(Bpe, DecodingGivesBackAnyBytes, (const std::string& text)) {
  static const auto t = sample_tokenizer();
  RC_ASSERT(t->decode(t->encode(text)) == text);
}

RC_GTEST_PROP(Bpe, DecodingGivesBackBytesLikeThoseItLearnedFrom, ()) {
  static const auto t = sample_tokenizer();
  const std::string sample = sample_text();
  const auto begin = *rc::gen::inRange<std::size_t>(0, sample.size());
  const auto count = *rc::gen::inRange<std::size_t>(0, 200);
  const std::string text = sample.substr(begin, count);
  const Ids ids = t->encode(text);
  RC_ASSERT(t->decode(ids) == text);
  for (const TokenId id : ids) RC_ASSERT(id >= 0 && id < t->vocab_size());
}

RC_GTEST_PROP(BpeTokenizer, PartsOneAfterAnotherAreTheWhole, ()) {
  static const auto trained = sample_tokenizer(), bytes = make_byte_tokenizer();
  const std::string sample = sample_text();
  const std::string text = sample.substr(0, *rc::gen::inRange<std::size_t>(0, sample.size()));
  for (const Tokenizer* t : {trained.get(), bytes.get()}) {
    Ids ids;
    const auto parts = t->parts(text, *rc::gen::inRange<std::size_t>(1, 300));
    RC_ASSERT(!parts.empty());
    for (const std::string_view part : parts) t->encode(part, ids);
    RC_ASSERT(ids == t->encode(text));
  }
}

TEST(TrainBpe, GivesTheVocabularyAskedForOrWhatTheTextCanGive) {
  EXPECT_EQ(train_bpe(Texts({sample_text()}), 300, 1)->vocab_size(), 300);
  EXPECT_EQ(train_bpe(Texts({sample_text()}), 257, 1)->vocab_size(), 257);
  EXPECT_EQ(train_bpe(Texts({"ab ab"}), 1000, 1)->vocab_size(), 258);
}

TEST(TrainBpe, RefusesAVocabularyWithoutRoomForTheBytes) {
  EXPECT_THROW(train_bpe(Texts({"ab"}), 256, 1), Error);
}

TEST(TrainBpe, IsTheSameForAnyNumberOfThreads) {
  const Texts corpus({sample_text(), "other words\n" + sample_text(), sample_text()});
  const std::string alone = saved(*train_bpe(corpus, 500, 1));
  EXPECT_EQ(saved(*train_bpe(corpus, 500, 2)), alone);
  EXPECT_EQ(saved(*train_bpe(corpus, 500, 5)), alone);
}

TEST(TrainBpe, MakesFewTokensOfTextLikeItsOwn) {
  const std::string text = sample_text();
  EXPECT_LT(sample_tokenizer()->encode(text).size(), text.size() / 3);
}

TEST(SavedTokenizer, EncodesAsBefore) {
  const auto before = sample_tokenizer();
  const auto after = saved_and_loaded(*before);
  const std::string text = sample_text();
  EXPECT_EQ(after->encode(text), before->encode(text));
  EXPECT_EQ(after->vocab_size(), before->vocab_size());
  EXPECT_EQ(after->end_of_text(), before->end_of_text());
  for (TokenId id = 0; id < after->vocab_size(); ++id)
    EXPECT_EQ(after->bytes(id), before->bytes(id));
}

TEST(SavedTokenizer, IsSavedAgainByteForByte) {
  const auto before = sample_tokenizer();
  EXPECT_EQ(saved(*saved_and_loaded(*before)), saved(*before));
}

TEST(SavedTokenizer, MayBeTheBytes) {
  const auto bytes = saved_and_loaded(*make_byte_tokenizer());
  EXPECT_EQ(bytes->vocab_size(), 257);
  EXPECT_EQ(bytes->encode("h\xC3"), (Ids{'h', 0xC3}));
}

// Against Hugging Face's `tokenizers`; tests/data/text/make_expected.py writes what is expected.
class BpeExpected : public ::testing::Test {
 protected:
  const fs::path folder_ = test::data_folder() / "text";
  const std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(folder_);
  const nlohmann::json expected_ = nlohmann::json::parse(read_file(folder_ / "expected.json"));

  nlohmann::json text_named(const std::string& name) const {
    for (const auto& text : expected_["texts"])
      if (text["name"] == name) return text;
    throw std::runtime_error("no " + name + " in expected.json");
  }
};

class NumberHash {
 public:
  void add(std::uint64_t number) {
    value_ = (value_ ^ number) * 0x100000001b3;
    ++count_;
  }
  nlohmann::json summary(const std::string& name, std::uint64_t bytes) const {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(value_));
    return {{"name", name}, {"bytes", bytes}, {"count", count_}, {"hash", hex}};
  }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325, count_ = 0;
};

TEST_F(BpeExpected, IdsOfTrickyTextsAreEqual) {
  ASSERT_GT(expected_["cases"].size(), 40u);
  for (const auto& one : expected_["cases"]) {
    const auto text = one["text"].get<std::string>();
    EXPECT_EQ(tokenizer_->encode(text), one["ids"].get<Ids>()) << text;
  }
}

TEST_F(BpeExpected, IdsOfWholeCorporaAreEqual) {
  for (const std::string name : {"kjv", "gcide:valid"}) {
    std::unique_ptr<Corpus> corpus;
    try {
      corpus = open_corpus(name);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    const nlohmann::json want = text_named(name);
    if (corpus->bytes() != want["bytes"]) GTEST_SKIP() << name << " is of another version here";
    NumberHash hash;
    for (const std::string_view document : corpus->documents())
      for (const TokenId id : tokenizer_->encode(replace_invalid_utf8(document)))
        hash.add(static_cast<std::uint64_t>(id));
    EXPECT_EQ(hash.summary(name, corpus->bytes()), want);
  }
}

// Of all that PCRE2's Unicode 14 knows; `tokenizers` has 16.
TEST_F(BpeExpected, EveryCharacterIsInTheSameClass) {
  const std::string name = "pieces of every character";
  const auto is_newer = [&](std::uint32_t code) {
    const auto& ranges = expected_["newer_letters"];
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](const auto& r) { return code >= r[0] && code <= r[1]; });
  };
  std::string text;
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if ((code >= 0xD800 && code < 0xE000) || is_newer(code)) continue;
    std::string character;
    append_utf8(character, code);
    text += "a" + character + " " + character + " \n";
  }
  NumberHash hash;
  PreTokenizer({kGpt2Pattern}).split(text, [&](std::string_view piece) { hash.add(piece.size()); });
  EXPECT_EQ(hash.summary(name, text.size()), text_named(name));
}

TEST_F(BpeExpected, LearningFromKjvGivesTheKeptFile) {
  std::unique_ptr<Corpus> corpus;
  try {
    corpus = open_corpus("kjv");
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  if (corpus->bytes() != text_named("kjv")["bytes"]) GTEST_SKIP() << "kjv is of another version";
  EXPECT_EQ(saved(*train_bpe(*corpus, 800, 2)), read_file(folder_ / "tokenizer.json"));
}

}  // namespace
}  // namespace mote::text
