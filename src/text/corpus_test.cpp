#include "text/corpus.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <map>

#include "base/check.h"
#include "tests/support/files.h"
#include "text/batches.h"
#include "text/bpe.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using Documents = std::vector<std::string>;
using test::TemporaryFolder;

Documents documents(const Corpus& corpus) {
  return {corpus.documents().begin(), corpus.documents().end()};
}

Documents documents(const fs::path& path, std::uint64_t max_bytes = 0) {
  return documents(*open_corpus(path.string(), max_bytes));
}

void expect_refused(const std::string& name, ErrorKind kind, const std::string& part) {
  try {
    open_corpus(name);
    ADD_FAILURE() << "opened " << name;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << "expected: " << part << "\nsaid: " << error.what();
  }
}

std::string problem_of(const std::string& name) {
  for (const KnownCorpus& known : known_corpora())
    if (known.name == name) return known.problem;
  return "unknown";
}

// The rule of the splits, block by block.
void expect_splits_of(const std::string& name, const std::string& whole) {
  constexpr std::size_t kBlock = 65'536;
  Documents train, valid, test;
  std::size_t last_kind = 3;
  for (std::size_t i = 0; i * kBlock < whole.size(); ++i) {
    const std::size_t kind = i % 20 == 18 ? 1 : i % 20 == 19 ? 2 : 0;
    Documents& split = kind == 0 ? train : kind == 1 ? valid : test;
    if (kind != last_kind) split.emplace_back();
    split.back() += whole.substr(i * kBlock, kBlock);
    last_kind = kind;
  }
  EXPECT_TRUE(documents(*open_corpus(name + ":train")) == train);
  EXPECT_TRUE(documents(*open_corpus(name + ":valid")) == valid);
  EXPECT_TRUE(documents(*open_corpus(name + ":test")) == test);
}

TEST(Corpus, AFileIsOneDocument) {
  const TemporaryFolder folder;
  const std::string text = std::string("one\n\ntwo\0\xFF", 10);
  const auto corpus = open_corpus(folder.file("x.txt", text).string(), 0, {.binary = true});
  EXPECT_EQ(documents(*corpus), Documents{text});
  EXPECT_EQ(corpus->bytes(), text.size());
}

TEST(Corpus, EachJsonLineIsADocument) {
  const TemporaryFolder folder;
  const auto path = folder.file(
      "x.jsonl", "{\"text\": \"a\\nb\", \"id\": 1}\n\n{\"text\": \"\\u00e9\"}\r\n{\"text\": \"\"}");
  EXPECT_EQ(documents(path), (Documents{"a\nb", "\xC3\xA9"}));
}

TEST(Corpus, AFolderIsItsFilesByPathWithoutHiddenOnes) {
  const TemporaryFolder folder;
  folder.file("b.txt", "second");
  folder.file("a/z.txt", "first");
  folder.file("c/lines.jsonl", "{\"text\": \"third\"}\n{\"text\": \"fourth\"}\n");
  folder.file("c/none.txt", "");
  folder.file(".hidden", "no");
  folder.file(".git/config", "no");
  EXPECT_EQ(documents(folder.path()), (Documents{"first", "second", "third", "fourth"}));
}

TEST(Corpus, AFolderSaysWhatOfItIsNotRead) {
  const TemporaryFolder folder;
  folder.file("text/a.txt", "first");
  folder.file("elsewhere/b.txt", "second");
  fs::create_symlink("../elsewhere/b.txt", folder.path() / "text" / "b.txt");
  fs::create_directory_symlink("../elsewhere", folder.path() / "text" / "to-folder");
  fs::create_symlink("gone", folder.path() / "text" / "to-nothing");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(documents(folder.path() / "text"), (Documents{"first", "second"}));
  const std::string said = ::testing::internal::GetCapturedStderr();
  for (const char* name : {"to-folder: is left out", "to-nothing: is left out"})
    EXPECT_NE(said.find(name), std::string::npos) << said;
  EXPECT_EQ(said.find("b.txt: "), std::string::npos) << said;
}

TEST(Corpus, IsCutToTheFirstBytes) {
  const TemporaryFolder folder;
  folder.file("a", "12345");
  folder.file("b", "67890");
  EXPECT_EQ(documents(folder.path(), 7), (Documents{"12345", "67"}));
  EXPECT_EQ(documents(folder.path(), 5), (Documents{"12345"}));
  EXPECT_EQ(documents(folder.path(), 100), (Documents{"12345", "67890"}));
  EXPECT_EQ(documents(folder.path(), 0), (Documents{"12345", "67890"}));
}

TEST(Corpus, IsDecompressed) {
  const TemporaryFolder folder;
  const auto compressed = [&](const std::string& name, const std::string& text) {
    const fs::path path = folder.path() / name;
    const gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
    return path;
  };
  EXPECT_EQ(documents(compressed("my.txt.gz", "some words")), Documents{"some words"});
  for (const char* name : {"my.jsonl.gz", "my.JSONL.GZ", "my.ndjson.gz"})
    EXPECT_EQ(documents(compressed(name, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n")),
              (Documents{"a", "b"}))
        << name;
  fs::path cut = compressed("cut.txt.gz", "some words");
  fs::resize_file(cut, fs::file_size(cut) - 1);
  expect_refused(cut.string(), ErrorKind::file, "cut.txt.gz: is cut short");
}

TEST(Corpus, NamesOfJsonMayBeInCapitals) {
  const TemporaryFolder folder;
  for (const char* name : {"x.JSONL", "x.JsonL", "x.ndjson", "x.NDJSON"})
    EXPECT_EQ(documents(folder.file(name, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n")),
              (Documents{"a", "b"}))
        << name;
  expect_refused(folder.file("x.JSON", "{\"text\": \"a\"}").string(), ErrorKind::file,
                 "x.JSON: is one JSON value");
}

// Of a long text only its beginning may be text; what is not read is not looked at.
TEST(Corpus, RefusesWhatIsNoTextFromSomewhereOn) {
  const TemporaryFolder folder;
  const std::string words(200'000, 'w');
  const std::string zero = folder.file("zero.txt", words + std::string(1, '\0')).string();
  expect_refused(zero, ErrorKind::file, "zero.txt: is not text: byte 200000 is zero");
  EXPECT_EQ(documents(zero, 200'000), Documents{words});
  EXPECT_EQ(open_corpus(zero, 0, {.binary = true})->bytes(), 200'001u);
  expect_refused(folder.file("late.txt", words + std::string(200'000, '\x02')).string(),
                 ErrorKind::file, "bytes are control characters");
}

TEST(Corpus, TakesTheKeyOfJsonLinesThatIsNamed) {
  const TemporaryFolder folder;
  const auto path = folder.file("x.jsonl", "{\"content\": \"a\", \"text\": 3}\n").string();
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(documents(*open_corpus(path, 0, {.json_key = "content"})), Documents{"a"});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  const auto plain = folder.file("plain.txt", "words").string();
  ::testing::internal::CaptureStderr();
  open_corpus(plain, 0, {.json_key = "content"});
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("plain.txt: has no JSON lines"), std::string::npos) << said;
  EXPECT_NE(said.find("'content'"), std::string::npos) << said;
  expect_refused(path, ErrorKind::file, "has a 'text' that is a number");
}

TEST(Corpus, RefusesWhatIsNoText) {
  const TemporaryFolder folder;
  const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", 18);
  expect_refused(folder.file("a/b.png", png).string(), ErrorKind::file, "b.png: is not text");
  expect_refused((folder.path() / "a").string(), ErrorKind::file, "b.png: is not text");
  expect_refused(folder.file("c.bin", std::string(3000, '\x02')).string(), ErrorKind::file,
                 "--binary");
  expect_refused(folder.file("d.json", "{\"text\": \"a\"}").string(), ErrorKind::file,
                 "d.json: is one JSON value");
  folder.file("model/config.json", "{}");
  folder.file("model/model.safetensors", "");
  expect_refused((folder.path() / "model").string(), ErrorKind::file, "is a model's folder");
  EXPECT_EQ(documents(*open_corpus((folder.path() / "a").string(), 0, {.binary = true})),
            Documents{png});
  EXPECT_EQ(documents(folder.file("e.txt", "caf\xE9 \x1b[1mbold\x1b[0m\f")).size(), 1u)
      << "Latin-1 and a terminal's colours are text";
}

TEST(Corpus, IsThePreparedTextOfAFolderOfTokens) {
  const TemporaryFolder folder;
  folder.file("text/a", "some words, and some words again");
  folder.file("text/b", "caf\xE9");
  const auto text = open_corpus((folder.path() / "text").string());
  StagedFolder out(folder.path() / "tokens");
  prepare(*text, *train_bpe(*text, 260, 1), "x", out, 1);
  EXPECT_EQ(documents(folder.path() / "tokens"), documents(*text));
  EXPECT_EQ(documents(folder.path() / "tokens", 7), Documents{"some wo"});
  fs::remove(folder.path() / "tokens" / "tokenizer.json");
  make_byte_tokenizer()->save(folder.path() / "tokens");
  expect_refused((folder.path() / "tokens").string(), ErrorKind::file,
                 "tokenizer.json: has 257 tokens, tokens.json says 260");
}

TEST(Corpus, AFileIsSplitByBlocksOverAllItsDocuments) {
  const TemporaryFolder folder;
  std::string whole;
  for (int i = 0; whole.size() < 45 * 65'536 + 100; ++i) whole += std::to_string(i) + " ";
  const std::string path = folder.file("my.txt", whole).string();
  expect_splits_of(path, whole);
  folder.file("parts/a", whole.substr(0, 1'200'000));  // ends inside block 18, a valid one
  folder.file("parts/b", whole.substr(1'200'000));
  const std::string parts = (folder.path() / "parts").string();
  const std::size_t begin = 18 * 65'536, end = 19 * 65'536;
  const Documents valid = documents(*open_corpus(parts + ":valid"));
  ASSERT_EQ(valid.size(), 3u);
  EXPECT_EQ(valid[0], whole.substr(begin, 1'200'000 - begin));
  EXPECT_EQ(valid[1], whole.substr(1'200'000, end - 1'200'000));
  expect_refused(path + ":vald", ErrorKind::value, "did you mean 'valid'?");
  expect_refused(folder.file("short.txt", "a few words").string() + ":valid", ErrorKind::file,
                 "its text has 11 bytes; of every 20 blocks of 65536 valid is the 19th");
  EXPECT_EQ(documents(folder.file("odd:train", "has this name")), Documents{"has this name"});
}

TEST(Corpus, IsNamedFromAnywhere) {
  const TemporaryFolder folder;
  folder.file("my.txt", "words");
  folder.file("a/b:valid", "words");
  fs::create_directory_symlink(folder.path() / "a", folder.path() / "link");
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  std::map<std::string, std::string> named;
  for (const char* name : {"my.txt", "./my.txt", "my.txt:valid", "a/../my.txt", "link/../my.txt",
                           "a/b:valid", "kjv", "gcide:test", "gone.txt", "gone.txt:test", ""})
    named[name] = named_from_anywhere(name);
  expect_refused("gone.txt", ErrorKind::system, "'gone.txt' seen from " + folder.path().string());
  fs::current_path(before);
  const std::string root = folder.path().string();
  for (const char* name : {"my.txt", "./my.txt", "a/../my.txt"})
    EXPECT_EQ(named[name], root + "/my.txt") << name;
  EXPECT_EQ(named["my.txt:valid"], root + "/my.txt:valid");
  EXPECT_EQ(named["link/../my.txt"], root + "/my.txt");
  EXPECT_EQ(named["a/b:valid"], root + "/a/b:valid");
  for (const char* name : {"kjv", "gcide:test", "gone.txt", "gone.txt:test", ""})
    EXPECT_EQ(named[name], name);
}

TEST(Corpus, RefusesWhatIsEmpty) {
  const TemporaryFolder folder;
  expect_refused(folder.file("x/empty.txt", "").string(), ErrorKind::file, "is empty");
  expect_refused(folder.file("x/blank.jsonl", "\n\n").string(), ErrorKind::file, "is empty");
  expect_refused((folder.path() / "x").string(), ErrorKind::file, "is empty");
}

TEST(Corpus, NamesTheLineOfABadJsonLine) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& line, const std::string& part) {
    expect_refused(folder.file("x.jsonl", "{\"text\": \"a\"}\n" + line).string(), ErrorKind::file,
                   part);
  };
  refuse("{\"text\": ", "line 2 is not JSON");
  refuse("\"text\"", "line 2 has no key 'text'");
  refuse("{\"texts\": \"a\"}", "line 2 has no key 'text'");
  refuse("{\"text\": 3}", "line 2 has a 'text' that is a number");
  refuse("{\"text\": \"\xFF\"}", "line 2 is not JSON");
}

TEST(Corpus, NamesWhatIsThereWhenTheNameIsUnknown) {
  expect_refused("gcibe:train", ErrorKind::system, "did you mean 'gcide'?");
  expect_refused("no/such/file.txt", ErrorKind::system, "known corpora are gcide and kjv");
  expect_refused("", ErrorKind::system, "known corpora are gcide and kjv");
}

TEST(Corpus, NamesTheSplitsWhenTheSplitIsUnknown) {
  expect_refused("gcide:vald", ErrorKind::value, "did you mean 'valid'?");
  expect_refused("kjv:", ErrorKind::value, "splits are train, valid, test");
}

TEST(Corpus, SaysHowToGetOneThatIsMissing) {
  for (const KnownCorpus& known : known_corpora()) {
    if (known.problem.empty()) continue;
    EXPECT_NE(known.problem.find("apt install "), std::string::npos);
    expect_refused(known.name, ErrorKind::system, known.problem.substr(known.problem.find("apt")));
  }
  ASSERT_EQ(known_corpora().size(), 2u);
}

// With nothing on PATH the program that prints kjv is missing, whatever this machine has.
TEST(Corpus, SaysHowToGetKjvWhenItsProgramIsMissing) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const std::string problem = problem_of("kjv");
  expect_refused("kjv", ErrorKind::system, "apt install bible-kjv");
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(problem, "missing; install it with: apt install bible-kjv");
}

TEST(Corpus, GcideHasItsThreeSplits) {
  if (const std::string problem = problem_of("gcide"); !problem.empty()) GTEST_SKIP() << problem;
  const Documents whole = documents(*open_corpus("gcide"));
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_LT(valid_utf8_prefix(whole[0]), whole[0].size()) << "gcide has bytes that are not UTF-8";
  expect_splits_of("gcide", whole[0]);
}

TEST(Corpus, KjvHasItsThreeSplits) {
  if (const std::string problem = problem_of("kjv"); !problem.empty()) GTEST_SKIP() << problem;
  const Documents whole = documents(*open_corpus("kjv"));
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_NE(whole[0].find("In the beginning God created"), std::string::npos);
  expect_splits_of("kjv", whole[0]);
}

}  // namespace
}  // namespace mote::text
