#include "text/sentencepiece.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/texts.h"
#include "text/batches.h"
#include "text/bpe.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using test::Texts;

using nlohmann::json;
using Ids = std::vector<TokenId>;

fs::path model_in(const fs::path& folder) {
  return folder / (fs::exists(folder / "spiece.model") ? "spiece.model" : "tokenizer.model");
}

std::unique_ptr<Tokenizer> load(const fs::path& path, SentencePieceOptions options = {}) {
  return make_sentencepiece_tokenizer(read_file(path), std::move(options), path.string());
}

Ids joined(Ids ids, bool end) {
  if (end) ids.push_back(1);
  return ids;
}

// The library's own ids and texts, and the pieces' names.
TEST(FixturesSentencePiece, IdsPiecesAndDecodedTextsAreEqual) {
  const auto folders = test::fixtures_of_kind("tokenizer:sentencepiece");
  if (folders.empty()) GTEST_SKIP() << "no SentencePiece at " << test::fixtures_folder();
  for (const fs::path& folder : folders) {
    SCOPED_TRACE(folder.string());
    const auto tokenizer = load(model_in(folder));
    const json cases = json::parse(read_file(folder / "cases.json"));
    for (const json& one : cases["cases"]) {
      const bool named = one.contains("spm_ids");
      const auto text = one["text"].get<std::string>();
      const auto ids = one[named ? "spm_ids" : "ids"].get<Ids>();
      EXPECT_EQ(tokenizer->encode(text), ids) << text;
      std::vector<std::string> pieces;
      for (const TokenId id : ids)
        if (id != tokenizer->roles().unknown) pieces.push_back(tokenizer->name(id));
      std::size_t next = 0;
      const json& wanted = one[named ? "spm_pieces" : "pieces"];
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] == tokenizer->roles().unknown) continue;
        EXPECT_EQ(pieces[next++], wanted[i]) << text;
      }
      StreamDecoder decoder(*tokenizer);
      std::string decoded;
      for (const TokenId id : ids) decoded += decoder.push(id);
      EXPECT_EQ(decoded + decoder.finish(), one[named ? "spm_decoded" : "decoded"]) << text;
    }
    EXPECT_GT(cases["cases"].size(), 10u);
  }
}

// A sentinel takes the space beside it; what follows begins with a space of its own only in legacy
// files.
TEST(FixturesSentencePiece, SentinelsCutTextAsBothFormsOfTheOriginalDo) {
  std::size_t compared = 0;
  for (const fs::path& folder : test::fixtures_of_kind("tokenizer:sentencepiece")) {
    const json cases = json::parse(read_file(folder / "cases.json"));
    if (!cases["cases"][0].contains("slow_ids")) continue;
    SCOPED_TRACE(folder.string());
    for (const bool legacy : {false, true}) {
      SentencePieceOptions options;
      options.extra_ids = 100;
      options.legacy = legacy;
      const auto tokenizer = load(model_in(folder), options);
      for (const json& one : cases["cases"]) {
        const auto text = one["text"].get<std::string>();
        const bool end = !text.ends_with("</s>");
        EXPECT_EQ(joined(tokenizer->encode(text, Specials::recognised), end),
                  one[legacy ? "slow_legacy_ids" : "slow_ids"].get<Ids>())
            << legacy << ": " << text;
        ++compared;
      }
    }
  }
  if (compared == 0) GTEST_SKIP() << "no such cases at " << test::fixtures_folder();
}

// tokenizer.json of the same model, as the tokenizers library reads it, and with the sign before
// the first word alone.
TEST(FixturesSentencePiece, TokenizerJsonHasTheIdsOfItsOwnLibrary) {
  std::size_t compared = 0;
  for (const fs::path& folder : test::fixtures_of_kind("tokenizer:sentencepiece")) {
    if (!fs::exists(folder / kTokenizerFile)) continue;
    SCOPED_TRACE(folder.string());
    json file = json::parse(read_file(folder / kTokenizerFile));
    const json cases = json::parse(read_file(folder / "cases.json"));
    for (const char* key : {"ids", "first_ids"}) {
      if (std::string(key) == "first_ids")
        for (const char* part : {"pre_tokenizer", "decoder"})
          file[part]["prepend_scheme"] = "first";
      const auto tokenizer = make_tokenizer(parse_tokenizer_json(file.dump(), "x.json"));
      for (const json& one : cases["cases"]) {
        const auto text = one["text"].get<std::string>();
        const auto ids = one[key].get<Ids>();
        EXPECT_EQ(tokenizer->encode_alone(text, Specials::recognised), ids) << key << ": " << text;
        if (std::string(key) != "ids") continue;
        EXPECT_EQ(tokenizer->decode(ids), one["decoded_skip_special"]) << text;
        EXPECT_EQ(tokenizer->decode(ids, Specials::recognised), one["decoded"]) << text;
        ++compared;
      }
    }
  }
  if (compared == 0) GTEST_SKIP() << "no such files at " << test::fixtures_folder();
}

TEST(FixturesSentencePiece, AFolderIsLoadedAndSavedAsItWas) {
  for (const fs::path& folder : test::fixtures_of_kind("tokenizer:sentencepiece")) {
    const test::TemporaryFolder copy, saved;
    fs::copy_file(model_in(folder), copy.path() / model_in(folder).filename());
    const auto tokenizer = load_tokenizer(copy.path());
    tokenizer->save(saved.path());
    EXPECT_EQ(read_file(saved.path() / model_in(folder).filename()), read_file(model_in(folder)));
    if (fs::exists(folder / "spiece.model")) {
      EXPECT_EQ(tokenizer->name(tokenizer->vocab_size() - 1), "<extra_id_0>");
      EXPECT_EQ(tokenizer->encode_alone("").back(), tokenizer->roles().end);
    } else {
      EXPECT_EQ(tokenizer->encode_alone("").front(), tokenizer->roles().begin);
    }
  }
}

Texts small_corpus() {
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i)
    texts.push_back(concat("the cat number ", i, " sat on the mat\nand the dog ", i * 7, " ran"));
  return Texts(texts);
}

TEST(TrainUnigram, LearnsSavesAndReadsTheSameTokenizer) {
  const Texts corpus = small_corpus();
  const auto learned = train_unigram(corpus, 160, 100);
  EXPECT_LE(learned->vocab_size(), 160);
  EXPECT_EQ(learned->name(learned->vocab_size() - 1), "<extra_id_0>");
  EXPECT_EQ(learned->roles().padding, 0);
  EXPECT_EQ(learned->roles().end, 1);
  EXPECT_EQ(learned->roles().unknown, 2);
  const test::TemporaryFolder folder;
  learned->save(folder.path());
  const auto read = load_tokenizer(folder.path());
  const std::string text = "the dog sat on the mat";
  EXPECT_EQ(read->encode(text), learned->encode(text));
  EXPECT_EQ(read->decode(read->encode(text)), text);
  EXPECT_EQ(train_unigram(corpus, 160, 100)->encode(text), learned->encode(text));
}

// The tokens' folder has the model beside them, and another run takes both as they are.
TEST(TrainUnigram, APreparedFolderKeepsTheModel) {
  const test::TemporaryFolder folder;
  const Texts corpus = small_corpus();
  const auto learned = tokenizer_named("unigram", corpus, 160, 1);
  StagedFolder out(folder.path() / "tokens");
  prepare(corpus, *learned, "x", out, 1);
  EXPECT_TRUE(fs::exists(folder.path() / "tokens" / "spiece.model"));
  EXPECT_FALSE(fs::exists(folder.path() / "tokens" / kTokenizerFile));
  const TokenFile tokens(folder.path() / "tokens");
  EXPECT_EQ(tokens.info().vocab_size, learned->vocab_size());
  EXPECT_EQ(tokens.tokenizer()->name(3), learned->name(3));
  std::string text;
  tokens.decode(*tokens.tokenizer(), 0, [&](std::string_view bytes, bool) { text += bytes; });
  EXPECT_NE(text.find("the cat number 17 sat"), std::string::npos);
  EXPECT_EQ(tokenizer_named((folder.path() / "tokens").string())->vocab_size(),
            learned->vocab_size());
  EXPECT_EQ(tokenizer_named((folder.path() / "tokens" / "spiece.model").string())->vocab_size(),
            learned->vocab_size());
}

// The library leaves out sentences of more bytes than it is told, without a word.
TEST(TrainUnigram, ReadsLinesOfAnyLength) {
  const std::string word = "the cat sat on the mat and the dog ran ";
  std::string spaced, unspaced;
  while (spaced.size() < 20'000) spaced += word;
  while (unspaced.size() < 20'000) unspaced += "k\xc3\xa4se";
  for (const std::string& text : {spaced, unspaced}) {
    const Texts corpus({text});
    EXPECT_GT(train_unigram(corpus, 150, 100)->vocab_size(), 103) << text.substr(0, 10);
  }
}

TEST(TrainUnigram, RefusesTextsWithoutACharacterToLearn) {
  for (const std::string& text : {std::string(20'000, '\xff'), std::string(" \n\t \n"),
                                  std::string("\xe2\x80\x8b\xe2\x80\x8b"), std::string(9, '\0')})
    EXPECT_THROW(train_unigram(Texts({text}), 150, 100), Error);
  // One is enough, whatever it is.
  for (const char* text : {"a", "?", "\xe2\x82\xac", "7 7"})
    EXPECT_NO_THROW(train_unigram(Texts({text}), 150, 100)) << text;
}

TEST(TrainUnigram, RefusesAVocabularyOfSentinelsAlone) {
  EXPECT_THROW(train_unigram(small_corpus(), 100, 100), Error);
}

TEST(SentencePiece, RefusesDamagedFiles) {
  const auto refused = [](const std::string& bytes) {
    try {
      make_sentencepiece_tokenizer(bytes, {}, "x.model");
      return std::string("accepted");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file) << error.what();
      EXPECT_EQ(error.file(), "x.model");
      return std::string(error.what());
    }
  };
  EXPECT_NE(refused("").find("it has no pieces"), std::string::npos);
  EXPECT_NE(refused("\x0A\xFF").find("the message ends"), std::string::npos);
  EXPECT_NE(refused("not a model").find("the message"), std::string::npos);
  const test::TemporaryFolder folder;
  train_unigram(small_corpus(), 160, 100)->save(folder.path());
  const std::string whole = read_file(folder.path() / "spiece.model");
  EXPECT_NE(refused(whole.substr(0, whole.size() / 2)), "accepted");
  // One piece twice.
  EXPECT_NE(refused(whole.substr(0, 2 + static_cast<unsigned char>(whole[1])) + whole)
                .find("repeats an earlier one"),
            std::string::npos);
}

}  // namespace
}  // namespace mote::text
