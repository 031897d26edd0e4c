#include "text/tokenizer_json.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "tests/support/fixture_kinds.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

// A small model as this program writes it: "th", "the".
json small() {
  TokenizerModel model = byte_model();
  model.tokens.push_back({"th"});
  model.tokens.push_back({"the"});
  model.merges = {{'t', 'h', 257}, {257, 'e', 258}};
  return json::parse(to_tokenizer_json(model));
}

std::unique_ptr<Tokenizer> load(const json& file) {
  return make_tokenizer(parse_tokenizer_json(file.dump(), "x.json"));
}

void expect_text_refused(const std::string& text, const std::string& field, const std::string& part,
                         ErrorKind kind = ErrorKind::file) {
  try {
    parse_tokenizer_json(text, "x.json");
    ADD_FAILURE() << "accepted, expected: " << part;
  } catch (const Error& error) {
    const std::string said = error.what();
    EXPECT_EQ(error.kind(), kind) << said;
    EXPECT_EQ(error.file(), "x.json");
    EXPECT_EQ(error.field(), field);
    EXPECT_TRUE(said.starts_with("x.json: ")) << said;
    EXPECT_NE(said.find(part), std::string::npos) << "expected: " << part << "\nsaid: " << said;
  }
}

void expect_refused(const json& file, const std::string& field, const std::string& part,
                    ErrorKind kind = ErrorKind::file) {
  expect_text_refused(file.dump(), field, part, kind);
}

TEST(TokenizerJson, WritesAndReadsAModel) {
  const auto t = load(small());
  EXPECT_EQ(t->encode("the th"), (Ids{258, ' ', 257}));
  EXPECT_EQ(t->vocab_size(), 259);
  EXPECT_EQ(t->end_of_text(), 256);
}

TEST(TokenizerJson, ReadsMergesAsPairsAndAsText) {
  json file = small();
  file["model"]["merges"] = {"t h", "th e"};
  EXPECT_EQ(load(file)->encode("the"), (Ids{258}));
}

TEST(TokenizerJson, ReadsIdsInAnyOrder) {
  json file = small();
  for (auto& [token, id] : file["model"]["vocab"].items()) id = 258 - id.get<int>();
  file["added_tokens"][0]["id"] = 2;
  const auto t = load(file);
  EXPECT_EQ(t->encode("the a"), (Ids{0, 258 - ' ', 258 - 'a'}));
  EXPECT_EQ(t->end_of_text(), 2);
  EXPECT_EQ(t->decode(t->encode("the a")), "the a");
}

TEST(TokenizerJson, ReadsAddedTokensThatAreNotInTheVocabulary) {
  json file = small();
  file["added_tokens"].push_back({{"id", 260}, {"content", "<think>"}, {"special", false}});
  file["added_tokens"].push_back({{"id", 259}, {"content", "<pad>"}, {"special", true}});
  const auto t = load(file);
  EXPECT_EQ(t->vocab_size(), 261);
  EXPECT_EQ(t->bytes(260), "<think>");
  EXPECT_EQ(t->bytes(259), "");
}

TEST(TokenizerJson, ReadsPatternsBeforeTheBytes) {
  json file = small();
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", "h"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  EXPECT_EQ(load(file)->encode("the"), (Ids{'t', 'h', 'e'}));
  file["pre_tokenizer"]["pretokenizers"] = {{{"type", "Digits"}, {"individual_digits", true}},
                                            bytes};
  EXPECT_EQ(load(file)->encode("the1"), (Ids{258, '1'}));
  file["pre_tokenizer"] = bytes;
  EXPECT_EQ(load(file)->encode("the"), (Ids{258}));
}

TEST(TokenizerJson, RefusesWhatIsNotJson) {
  expect_text_refused("", "", "not JSON");
  const std::string whole = small().dump();
  expect_text_refused(whole.substr(0, whole.size() / 2), "", "not JSON");
  expect_text_refused("[]", "", "the file is not a JSON object");
  expect_text_refused(std::string("{\"model\":\"\xFF\"}"), "", "not JSON");
}

TEST(TokenizerJson, RefusesAFileWithAPartMissingOrOfAnotherType) {
  json none = small();
  none.erase("model");
  expect_refused(none, "model", "is missing");
  for (const char* key : {"vocab", "merges"}) {
    json file = small();
    file["model"][key] = 3;
    expect_refused(file, concat("model.", key), "is not a");
    file["model"].erase(key);
    expect_refused(file, concat("model.", key), "is missing");
  }
  json file = small();
  file["added_tokens"][0].erase("content");
  expect_refused(file, "added_tokens[0].content", "is missing");
  file = small();
  file["added_tokens"] = "none";
  expect_refused(file, "added_tokens", "is not a list");
}

TEST(TokenizerJson, RefusesIdsThatAreNotZeroToTheLast) {
  json file = small();
  file["model"]["vocab"]["the"] = 259;
  expect_refused(file, "model.vocab 'the'", "has id 259 in a vocabulary of 259 tokens");
  file["model"]["vocab"]["the"] = 4294967296;
  expect_refused(file, "model.vocab 'the'", "has id 4294967296");
  file["model"]["vocab"]["the"] = -1;
  expect_refused(file, "model.vocab 'the'", "not a whole number from 0: -1");
  file["model"]["vocab"]["the"] = 2.5;
  expect_refused(file, "model.vocab 'the'", "not a whole number from 0: 2.5");
  file["model"]["vocab"]["the"] = 257;
  expect_refused(file, "model.vocab 'the'", "has id 257, taken before");
}

// Where a level took a stack frame, these would end the process.
TEST(TokenizerJson, RefusesValuesNestedVeryDeeply) {
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  const auto with = [&](json file, const json::json_pointer& place) {
    file[place] = "DEEP";
    std::string text = file.dump();
    return text.replace(text.find("\"DEEP\""), 6, deep);
  };
  const auto at = [](const char* place) { return json::json_pointer(place); };
  expect_text_refused(with(small(), at("/model/vocab/the")), "model.vocab 'the'", "an array");
  expect_text_refused(with(small(), at("/model/merges/0")), "model.merges[0]", "neither");
  expect_text_refused(with(small(), at("/added_tokens")), "added_tokens[0]", "not a JSON object");
  expect_text_refused(with(small(), at("/added_tokens/0/id")), "added_tokens '<|endoftext|>'",
                      "not a whole number from 0: an array");
  expect_text_refused(with(small(), at("/model/dropout")), "model.dropout", "an array",
                      ErrorKind::unsupported);
  expect_text_refused(with(small(), at("/pre_tokenizer/type")), "pre_tokenizer.type", "not text");
}

TEST(TokenizerJson, RefusesAnAddedTokenThatDisagreesWithTheVocabulary) {
  json file = small();
  file["added_tokens"][0]["id"] = 7;
  expect_refused(file, "added_tokens '<|endoftext|>'", "has id 7 here and 256 in model.vocab");
  file = small();
  file["added_tokens"].push_back(file["added_tokens"][0]);
  expect_refused(file, "added_tokens '<|endoftext|>'", "has id 256, taken before");
}

// As SmolLM2's does: what has no token is left out of texts, and said.
TEST(TokenizerJson, WarnsOfAVocabularyThatLacksBytes) {
  json file = small();
  file["model"]["vocab"].erase("A");
  file["model"]["vocab"]["tt"] = int{'A'};
  const auto tokenizer = load(file);
  EXPECT_EQ(tokenizer->encode("BAB"), tokenizer->encode("BB"));
  EXPECT_FALSE(tokenizer->lossless());
  ASSERT_EQ(tokenizer->warnings().size(), 1u);
  EXPECT_NE(tokenizer->warnings()[0].find("lacks 1 of the 256 bytes"), std::string::npos);
}

TEST(TokenizerJson, RefusesATokenOutsideTheAlphabetOfBytes) {
  json file = small();
  file["model"]["vocab"].erase("the");
  file["model"]["vocab"]["\xE2\x96\x81the"] = 258;
  expect_refused(file, "model.vocab '\xE2\x96\x81the'", "alphabet of bytes");
}

TEST(TokenizerJson, RefusesMergesThatLeadNowhere) {
  json file = small();
  file["model"]["merges"].push_back({"h", "e"});
  expect_refused(file, "model.merges[2]", "needs 'he', which is not in model.vocab");
  file["model"]["merges"][2] = {"t", "h"};
  expect_refused(file, "model.merges[2]", "repeats model.merges[0]");
  file["model"]["merges"][2] = "t h e";
  expect_refused(file, "model.merges[2]", "neither");
  file["model"]["merges"][2] = {"t"};
  expect_refused(file, "model.merges[2]", "neither");
  file["model"]["merges"][2] = 5;
  expect_refused(file, "model.merges[2]", "neither");
}

TEST(TokenizerJson, RefusesAMergeThatMakesASpecialToken) {
  json file = small();
  file["added_tokens"].push_back({{"id", 258}, {"content", "the"}, {"special", true}});
  expect_refused(file, "model.merges[1]",
                 "needs 'the', which is not in model.vocab or is an added");
}

TEST(TokenizerJson, RefusesByNameWhatItDoesNotKnow) {
  const auto unsupported = ErrorKind::unsupported;
  json file = small();
  file["model"]["type"] = "WordPiece";
  expect_refused(file, "model.type", "'WordPiece'", unsupported);
  file["model"]["type"] = "Unigram";
  expect_refused(file, "model.type", "'Unigram' and pre_tokenizer has ByteLevel", unsupported);
  file = small();
  file["normalizer"] = {{"type", "BertNormalizer"}};
  expect_refused(file, "normalizer", "'BertNormalizer'", unsupported);
  file = small();
  file["model"]["end_of_word_suffix"] = "</w>";
  expect_refused(file, "model.end_of_word_suffix", "</w>", unsupported);
  file["model"]["end_of_word_suffix"] = "";
  file["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
  expect_refused(file, "pre_tokenizer", "'UnicodeScripts'", unsupported);
  file["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "Sequence"}, {"pretokenizers", json::array()}}}}};
  expect_refused(file, "pre_tokenizer.pretokenizers[0]", "a Sequence in a Sequence", unsupported);
  file["pre_tokenizer"] = {{"type", "Digits"}};
  expect_refused(file, "model", "neither byte_fallback nor a token for unknown", unsupported);
  file["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Doubled"}};
  expect_refused(file, "pre_tokenizer.behavior", "'Doubled'", unsupported);
  file = small();
  file["post_processor"] = {{"type", "Chat"}};
  expect_refused(file, "post_processor", "'Chat'", unsupported);
  file = small();
  file["decoder"] = {{"type", "WordPiece"}};
  expect_refused(file, "decoder", "'WordPiece'", unsupported);
}

TEST(TokenizerJson, RefusesAFileWithoutAnEndOfText) {
  json file = small();
  file["added_tokens"][0]["special"] = false;
  expect_refused(file, "added_tokens", "no special token <|endoftext|>");
}

TEST(LoadTokenizer, NamesTheFileThatIsMissingOrHasABadPattern) {
  const test::TemporaryFolder folder;
  try {
    load_tokenizer(folder.path());
    FAIL() << "loaded nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::system);
    EXPECT_EQ(error.file(), (folder.path() / "tokenizer.json").string());
  }
  json file = small();
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, file["pre_tokenizer"]}}};
  folder.file("tokenizer.json", file.dump());
  try {
    load_tokenizer(folder.path());
    FAIL() << "loaded a pattern that does not compile";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::file);
    EXPECT_EQ(error.field(), "pre_tokenizer.pretokenizers[0]");
  }
}

// The reference files and their cases: PREFIXtokenizer.json with PREFIXcases.json in each folder of
// the kind.
struct Fixture {
  fs::path tokenizer, cases;
};

std::vector<Fixture> fixtures() {
  std::vector<Fixture> found;
  for (const fs::path& folder : test::fixtures_of_kind("tokenizer:byte-level-bpe")) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const std::string end = "tokenizer.json";
      if (!name.ends_with(end)) continue;
      const std::string prefix = name.substr(0, name.size() - end.size());
      found.push_back({entry.path(), folder / (prefix + "cases.json")});
    }
  }
  return found;
}

// Every id and text of the cases, special tokens kept and left out, and tokens that make no UTF-8.
TEST(FixturesTokenizer, IdsAndDecodedTextsAreEqual) {
  const std::vector<Fixture> all = fixtures();
  if (all.empty()) GTEST_SKIP() << "no byte-level BPE at " << test::fixtures_folder();
  for (const Fixture& fixture : all) {
    SCOPED_TRACE(fixture.tokenizer.string());
    const auto tokenizer = load(json::parse(read_file(fixture.tokenizer)));
    const json cases = json::parse(read_file(fixture.cases));
    for (const json& one : cases["cases"]) {
      const auto text = one["text"].get<std::string>();
      const auto ids = one["ids"].get<Ids>();
      EXPECT_EQ(tokenizer->encode(text, Specials::recognised), ids) << text;
      EXPECT_EQ(tokenizer->encode_alone(text, Specials::recognised),
                one["ids_with_special"].get<Ids>())
          << text;
      EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(ids)), one["decoded_skip_special"]);
      EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(ids, Specials::recognised)), one["decoded"]);
    }
    EXPECT_GT(cases["cases"].size(), 10u);
    for (const json& one : cases["decode_only"])
      EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(one["ids"].get<Ids>())), one["decoded"]);
  }
}

}  // namespace
}  // namespace mote::text
