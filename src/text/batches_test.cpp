#include "text/batches.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <rapidcheck/gtest.h>

#include "base/check.h"
#include "tests/support/files.h"
#include "text/bpe.h"
#include "text/tokenizer_model.h"

namespace mote::text {
namespace {

using Ids = std::vector<TokenId>;
using test::TemporaryFolder;

std::unique_ptr<Corpus> corpus_of(const TemporaryFolder& folder,
                                  const std::vector<std::string>& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i)
    folder.file("text/" + std::to_string(1000 + i), texts[i]);
  return open_corpus((folder.path() / "text").string(), 0, {.binary = true});
}

Prepared prepare(const Corpus& corpus, const Tokenizer& tokenizer, const std::string& name,
                 const fs::path& folder, int threads) {
  StagedFolder out(folder);
  return text::prepare(corpus, tokenizer, name, out, threads);
}

Ids all_ids(const TokenFile& tokens) {
  Ids ids;
  for (std::uint64_t i = 0; i < tokens.size(); ++i) ids.push_back(tokens[i]);
  return ids;
}

// Bytes 0, 1, 2, ... after the end-of-text token: token i + 1 is i mod 256.
std::shared_ptr<const TokenFile> counting(const TemporaryFolder& folder, std::size_t num_tokens) {
  std::string text;
  for (std::size_t i = 0; i + 1 < num_tokens; ++i) text += static_cast<char>(i);
  const auto corpus = corpus_of(folder, {text});
  prepare(*corpus, *make_byte_tokenizer(), "counting", folder.path() / "tokens", 1);
  return std::make_shared<TokenFile>(folder.path() / "tokens");
}

std::string many_words() {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "word" + std::to_string(i % 37) + " \xFF\xC3 again; ";
  return text;
}

TEST(TokenList, HoldsWhatPrepareWrites) {
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {"ab", many_words()});
  prepare(*corpus, *make_byte_tokenizer(), "two", folder.path() / "out", 2);
  const TokenList list(*corpus, *make_byte_tokenizer());
  const TokenFile file(folder.path() / "out");
  ASSERT_EQ(list.size(), file.size());
  for (std::uint64_t i = 0; i < list.size(); ++i) ASSERT_EQ(list[i], file[i]) << i;
}

TEST(Prepare, PutsAnEndOfTextBeforeEveryDocument) {
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {"ab", "c\xFF"});
  const Prepared said = prepare(*corpus, *make_byte_tokenizer(), "two", folder.path() / "out", 1);
  EXPECT_EQ(said.tokens, 6u);
  EXPECT_EQ(said.bytes, 4u);
  EXPECT_EQ(said.vocab_size, 257);
  EXPECT_EQ(all_ids(TokenFile(folder.path() / "out")), (Ids{256, 'a', 'b', 256, 'c', 0xFF}));
  EXPECT_EQ(read_file(folder.path() / "out" / "tokens.bin"),
            std::string("\0\1a\0b\0\0\1c\0\xFF\0", 12));
}

TEST(Prepare, DescribesWhatItWrote) {
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {"ab", "c"});
  prepare(*corpus, *make_byte_tokenizer(), "three letters", folder.path() / "out", 1);
  const auto header = nlohmann::json::parse(read_file(folder.path() / "out" / "tokens.json"));
  EXPECT_EQ(header, (nlohmann::json{{"format", 1},
                                    {"tokens", 5},
                                    {"bytes", 3},
                                    {"vocab_size", 257},
                                    {"width", 2},
                                    {"corpus", "three letters"},
                                    {"xxh64", "44bc2cf5ad770999"}}));  // xxhsum -H64 of "abc"
}

TEST(Prepare, SaysOfWhatTextTheTokensAre) {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  prepare(*corpus_of(folder, {"ab ab", "c\xFF"}), *make_byte_tokenizer(), "two", out, 1);
  const auto decoded = [&](std::uint64_t most) {
    const TokenFile tokens(out);
    std::string text;
    tokens.decode(*tokens.tokenizer(), most,
                  [&](std::string_view bytes, bool starts) { text += starts ? "|" : bytes; });
    return text;
  };
  EXPECT_EQ(decoded(0), "|ab ab|c\xFF");
  EXPECT_EQ(decoded(3), "|ab ");
  folder.file("out/tokens.bin", std::string("\0\1b\0a\0 \0a\0b\0\0\1c\0\xFF\0", 18));
  EXPECT_EQ(decoded(3), "|ba ") << "a part has no hash";
  EXPECT_THROW(decoded(0), Error);
}

TEST(Prepare, UsesFourBytesForAVocabularyAbove65536) {
  TokenizerModel model = byte_model();
  while (model.tokens.size() < 65'537) model.tokens.push_back({"", true, true});
  model.end_of_text = 65'536;
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {"ab"});
  model.source = "kept";
  prepare(*corpus, *make_tokenizer(model), "wide", folder.path() / "out", 1);
  EXPECT_EQ(all_ids(TokenFile(folder.path() / "out")), (Ids{65'536, 'a', 'b'}));
  EXPECT_EQ(read_file(folder.path() / "out" / "tokens.bin"),
            std::string("\0\0\1\0a\0\0\0b\0\0\0", 12));
}

TEST(Prepare, WritesTheSameBytesForAnyNumberOfThreads) {
  const TemporaryFolder folder;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 40; ++i) texts.push_back(many_words().substr(i * 10));
  const auto corpus = corpus_of(folder, texts);
  const auto tokenizer = train_bpe(*corpus, 300, 1);
  for (const int threads : {1, 2, 5})
    prepare(*corpus, *tokenizer, "x", folder.path() / std::to_string(threads), threads);
  for (const char* name : {"tokens.bin", "tokens.json", "tokenizer.json"}) {
    const std::string alone = read_file(folder.path() / "1" / name);
    EXPECT_EQ(read_file(folder.path() / "2" / name), alone);
    EXPECT_EQ(read_file(folder.path() / "5" / name), alone);
  }
}

TEST(Prepare, LeavesATokenizerThatTurnsTheTokensBackIntoTheText) {
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {many_words(), "\xFF\xFE", many_words()});
  prepare(*corpus, *train_bpe(*corpus, 300, 1), "x", folder.path() / "out", 2);
  const auto tokenizer = load_tokenizer(folder.path() / "out");
  EXPECT_EQ(tokenizer->decode(all_ids(TokenFile(folder.path() / "out"))),
            many_words() + "\xFF\xFE" + many_words());
}

TEST(Prepare, KeepsEveryByteOfGcide) {
  std::unique_ptr<Corpus> corpus;
  try {
    corpus = open_corpus("gcide:valid");
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const TemporaryFolder folder;
  prepare(*corpus, *train_bpe(*corpus, 2000, 2), "gcide:valid", folder.path() / "out", 2);
  const TokenFile tokens(folder.path() / "out");
  std::string text;
  for (const std::string_view document : corpus->documents()) text += document;
  EXPECT_TRUE(load_tokenizer(folder.path() / "out")->decode(all_ids(tokens)) == text);
  EXPECT_EQ(tokens.info().bytes, text.size());
  EXPECT_LT(tokens.size(), text.size() / 2);
}

TEST(Prepare, RefusesAFolderThatIsNotEmptyAndLeavesItAlone) {
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {"ab"});
  folder.file("out/mine", "precious");
  EXPECT_THROW(prepare(*corpus, *make_byte_tokenizer(), "x", folder.path() / "out", 1), Error);
  EXPECT_EQ(read_file(folder.path() / "out" / "mine"), "precious");
  EXPECT_EQ(bytes_on_disk(folder.path() / "out"), 8u);
}

class Failing final : public Tokenizer {
 public:
  using Tokenizer::encode;
  int vocab_size() const override { return 257; }
  void encode(std::string_view text, std::vector<TokenId>& ids, Specials) const override {
    MOTE_CHECK(text != "bad", "cannot encode");
    ids.push_back(0);
  }
  std::string_view bytes(TokenId) const override { return ""; }
  TokenId end_of_text() const override { return 256; }
  void save(const fs::path&) const override {}
};

TEST(Prepare, LeavesNothingBehindWhenItFails) {
  const TemporaryFolder folder;
  const auto corpus = corpus_of(folder, {"good", "bad", "good"});
  EXPECT_THROW(prepare(*corpus, Failing(), "x", folder.path() / "out", 2), Error);
  for (const auto& entry : fs::directory_iterator(folder.path()))
    EXPECT_EQ(entry.path().filename(), "text");
}

// A prepared folder with one of its files changed.
class DamagedTokenFile : public ::testing::Test {
 protected:
  DamagedTokenFile() { counting(folder_, 101); }

  void change(const char* key, const nlohmann::json& value) const {
    const fs::path path = folder_.path() / "tokens" / "tokens.json";
    auto header = nlohmann::json::parse(read_file(path));
    if (value.is_null())
      header.erase(key);
    else
      header[key] = value;
    write_file(path, header.dump());
  }
  void expect_refused(const std::string& field, const std::string& part, ErrorKind kind) const {
    try {
      TokenFile opened(folder_.path() / "tokens");
      all_ids(opened);
      ADD_FAILURE() << "accepted, expected: " << part;
    } catch (const Error& error) {
      const std::string said = error.what();
      EXPECT_EQ(error.kind(), kind) << said;
      EXPECT_EQ(error.field(), field) << said;
      EXPECT_NE(said.find(part), std::string::npos) << "expected: " << part << "\nsaid: " << said;
      EXPECT_NE(error.file().find("tokens."), std::string::npos);
    }
  }

  const TemporaryFolder folder_;
};

TEST_F(DamagedTokenFile, WithFewerOrMoreTokensIsRefused) {
  const fs::path path = folder_.path() / "tokens" / "tokens.bin";
  const std::string whole = read_file(path);
  const std::string says = "tokens.json says 101 tokens of 2 bytes";
  for (const std::string& bytes :
       {whole.substr(0, 200), whole.substr(0, 201), whole + "ab", std::string()}) {
    write_file(path, bytes);
    expect_refused("tokens", says, ErrorKind::file);
  }
  write_file(path, whole);
  EXPECT_NO_THROW(TokenFile(folder_.path() / "tokens"));
}

TEST_F(DamagedTokenFile, WithAnIdOutsideTheVocabularyIsRefusedAtThatToken) {
  const fs::path path = folder_.path() / "tokens" / "tokens.bin";
  std::string bytes = read_file(path);
  bytes[2 * 50] = '\x01';
  bytes[2 * 50 + 1] = '\x01';  // 257
  write_file(path, bytes);
  expect_refused("token 50", "token 50 is 257 in a vocabulary of 257", ErrorKind::file);
}

TEST_F(DamagedTokenFile, WithAnotherHeaderIsRefused) {
  const auto config = ErrorKind::config;
  change("tokens", std::uint64_t{1} << 63);
  expect_refused("tokens", "outside", config);
  change("tokens", std::int64_t{1} << 62);
  expect_refused("tokens", "says 4611686018427387904 tokens", ErrorKind::file);
  change("tokens", 0);
  expect_refused("tokens", "outside", config);
  change("tokens", "many");
  expect_refused("tokens", "whole number", config);
  change("tokens", nullptr);
  expect_refused("tokens", "is missing", config);
}

TEST_F(DamagedTokenFile, WithAWidthThatDoesNotFitTheVocabularyIsRefused) {
  change("width", 4);
  expect_refused("width", "width is 4 and a vocabulary of 257 has 2", ErrorKind::file);
  change("width", 2);
  change("vocab_size", 65'537);
  expect_refused("width", "width is 2 and a vocabulary of 65537 has 4", ErrorKind::file);
  change("vocab_size", std::int64_t{1} << 40);
  expect_refused("vocab_size", "outside", ErrorKind::config);
}

TEST_F(DamagedTokenFile, OfANewerFormatIsRefusedByItsNumber) {
  change("format", 2);
  expect_refused("format", "format is 2 and this mote reads 1", ErrorKind::unsupported);
}

TEST_F(DamagedTokenFile, WithoutAHeaderOrWithOneThatIsNotJsonIsRefused) {
  const fs::path path = folder_.path() / "tokens" / "tokens.json";
  for (const char* text : {"{\"format\": 1,", "", "\xFF"}) {
    write_file(path, text);
    expect_refused("", "not JSON", ErrorKind::file);
  }
  write_file(path, "[1]");
  expect_refused("", "not a JSON object", ErrorKind::file);
  fs::remove(path);
  expect_refused("", "No such file", ErrorKind::system);
}

// Token i of this file has the value i - 1, with token 0 the end of text.
Ids range(std::int64_t begin, std::int64_t count) {
  Ids ids;
  for (std::int64_t i = begin; i < begin + count; ++i)
    ids.push_back(i == 0 ? 256 : static_cast<TokenId>((i - 1) % 256));
  return ids;
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(BatchStream, EachStreamReadsItsWindowsInOrder) {
  const TemporaryFolder folder;
  // 21 tokens have 20 targets: 6 windows of 3 tokens, 3 for each of two streams.
  const BatchStream stream(counting(folder, 21), 2, 3);
  ASSERT_EQ(stream.steps_per_epoch(), 3);
  for (std::int64_t step = 0; step < 3; ++step) {
    const Batch batch = stream.at(step);
    EXPECT_EQ(batch.ids, joined(range(3 * step, 3), range(9 + 3 * step, 3)));
    EXPECT_EQ(batch.targets, joined(range(3 * step + 1, 3), range(9 + 3 * step + 1, 3)));
    EXPECT_EQ(batch.starts_epoch, step == 0);
  }
}

TEST(BatchStream, StartsAgainAfterTheLastWindow) {
  const TemporaryFolder folder;
  const BatchStream stream(counting(folder, 21), 2, 3);
  for (const std::int64_t step : {0, 1, 2}) {
    EXPECT_EQ(stream.at(step + 3'000'000'000).ids, stream.at(step).ids);
    EXPECT_EQ(stream.at(step + 3).starts_epoch, step == 0);
  }
}

TEST(BatchStream, ReadsTheLastTokenAsATargetOnly) {
  const TemporaryFolder folder;
  const auto tokens = counting(folder, 19);  // exactly 18 targets
  const BatchStream stream(tokens, 2, 3);
  ASSERT_EQ(stream.steps_per_epoch(), 3);
  EXPECT_EQ(stream.at(2).targets.back(), (*tokens)[18]);
  EXPECT_EQ(BatchStream(counting(TemporaryFolder(), 18), 2, 3).steps_per_epoch(), 2);
}

TEST(BatchStream, RefusesSizesThatTheTextCannotFill) {
  const TemporaryFolder folder;
  const auto tokens = counting(folder, 21);
  EXPECT_EQ(BatchStream(tokens, 1, 20).steps_per_epoch(), 1);
  EXPECT_EQ(BatchStream(tokens, 20, 1).steps_per_epoch(), 1);
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const auto& [streams, context] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 21}, {21, 1}, {0, 1}, {1, 0}, {-1, -1}, {most, most}})
    EXPECT_THROW(BatchStream(tokens, streams, context), Error) << streams << " " << context;
  EXPECT_THROW(BatchStream(tokens, 2, 3).at(-1), Error);
}

RC_GTEST_PROP(BatchStream, ReadsEveryWindowOnceAnEpochAndTargetsFollowIds, ()) {
  static const std::vector<std::shared_ptr<const TokenFile>> files = [] {
    std::vector<std::shared_ptr<const TokenFile>> made;
    for (const std::size_t size : {2, 3, 17, 64, 101, 250})
      made.push_back(counting(TemporaryFolder(), size));
    return made;
  }();
  const auto tokens = *rc::gen::elementOf(files);
  const std::uint64_t size = tokens->size();
  const auto context = *rc::gen::inRange<std::int64_t>(1, static_cast<std::int64_t>(size));
  const std::int64_t windows = (static_cast<std::int64_t>(size) - 1) / context;
  const auto streams = *rc::gen::inRange<std::int64_t>(1, windows + 1);
  const BatchStream stream(tokens, streams, context);
  std::vector<TokenId> firsts;
  for (std::int64_t step = 0; step < stream.steps_per_epoch(); ++step) {
    const Batch batch = stream.at(step);
    RC_ASSERT(batch.ids.size() == static_cast<std::size_t>(streams * context));
    for (std::size_t i = 0; i < batch.ids.size(); ++i) {
      RC_ASSERT(batch.targets[i] == (batch.ids[i] + 1) % 257);
      if (i % static_cast<std::size_t>(context) == 0) firsts.push_back(batch.ids[i]);
    }
  }
  std::sort(firsts.begin(), firsts.end());
  RC_ASSERT(std::adjacent_find(firsts.begin(), firsts.end()) == firsts.end());
  RC_ASSERT(static_cast<std::int64_t>(firsts.size()) == windows / streams * streams);
}

}  // namespace
}  // namespace mote::text
