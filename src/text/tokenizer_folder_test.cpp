// What the files beside a tokenizer say, and the parts of tokenizer.json, through load_tokenizer.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "tests/support/files.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;
const std::string kSign = "\xE2\x96\x81";

// Bytes, <|endoftext|> 256, <s> 257 and </s> 258.
json byte_file() {
  json file = json::parse(to_tokenizer_json(byte_model()));
  for (const auto& [name, id] : {std::pair{"<s>", 257}, std::pair{"</s>", 258}})
    file["added_tokens"].push_back({{"id", id}, {"content", name}, {"special", true}});
  return file;
}

// A character BPE: <unk> 0, </s> 1, bytes from 2, sign 258, a b c 259.., ab 262, sign+ab 263.
json character_file() {
  json vocab = {{"<unk>", 0}, {"</s>", 1}};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    vocab[text] = byte + 2;
  }
  int id = 258;
  for (const std::string& text : {kSign, std::string("a"), std::string("b"), std::string("c"),
                                  std::string("ab"), kSign + "ab"})
    vocab[text] = id++;
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSign}};
  const json back = {{"type", "Replace"}, {"pattern", {{"String", kSign}}}, {"content", " "}};
  return {{"added_tokens", {{{"id", 1}, {"content", "</s>"}, {"special", true}}}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers", {{{"type", "Prepend"}, {"prepend", kSign}}, replace}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {back,
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", json::array({json::array({"a", "b"}), json::array({kSign, "ab"})})}}}};
}

class Folder : public ::testing::Test {
 protected:
  void put(const char* name, const json& content) { folder_.file(name, content.dump()); }
  std::unique_ptr<Tokenizer> load() { return load_tokenizer(folder_.path()); }
  void expect_refused(const std::string& part) {
    try {
      load();
      ADD_FAILURE() << "accepted, expected: " << part;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_FALSE(error.file().empty());
    }
  }
  test::TemporaryFolder folder_;
};
using TokenizerFolder = Folder;

TEST_F(TokenizerFolder, TheConfigSaysWhatIsPutAroundATextAndWhichTokensHaveAPart) {
  put("tokenizer.json", byte_file());
  EXPECT_EQ(load()->encode_alone("a"), (Ids{'a'}));
  put("tokenizer_config.json", {{"bos_token", "<s>"},
                                {"eos_token", {{"content", "</s>"}}},
                                {"add_bos_token", true},
                                {"add_eos_token", true},
                                {"pad_token", nullptr}});
  const auto t = load();
  EXPECT_EQ(t->encode_alone("a"), (Ids{257, 'a', 258}));
  EXPECT_EQ(t->roles().begin, 257);
  EXPECT_EQ(t->roles().end, 258);
  EXPECT_FALSE(t->roles().padding);
  EXPECT_TRUE(t->warnings().empty());
  json file = byte_file();
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
      {"special_tokens", {{"<s>", {{"ids", {257}}}}}}};
  put("tokenizer.json", file);
  put("tokenizer_config.json", json::object());
  EXPECT_EQ(load()->encode_alone("a"), (Ids{257, 'a'}));
  put("tokenizer_config.json", {{"bos_token", "<s>"}, {"add_bos_token", false}});
  EXPECT_EQ(load()->encode_alone("a"), (Ids{'a'}));
}

TEST_F(TokenizerFolder, ARoleWhoseTokenIsMissingIsAWarning) {
  put("tokenizer.json", byte_file());
  put("special_tokens_map.json", {{"unk_token", "<what>"}});
  const auto t = load();
  ASSERT_EQ(t->warnings().size(), 1u);
  EXPECT_NE(t->warnings()[0].find("unk_token is '<what>'"), std::string::npos);
  put("tokenizer_config.json", {{"bos_token", "<what>"}, {"add_bos_token", true}});
  expect_refused("add_bos_token is true");
}

TEST_F(TokenizerFolder, FilesBesideItAddTokens) {
  put("tokenizer.json", byte_file());
  put("added_tokens.json", {{"<tool>", 259}});
  put("tokenizer_config.json",
      {{"added_tokens_decoder",
        {{"260", {{"content", "<pad>"}, {"special", true}}}, {"257", {{"content", "<s>"}}}}},
       {"extra_special_tokens", {{"image", "<image>"}}},
       {"additional_special_tokens", {"<tool>"}}});
  const auto t = load();
  EXPECT_EQ(t->vocab_size(), 262);
  EXPECT_EQ(t->encode("<tool><pad><image><s>", Specials::recognised), (Ids{259, 260, 261, 257}));
  EXPECT_EQ(t->encode("<s>").size(), 3u);
  EXPECT_TRUE(t->special(259));
  EXPECT_EQ(t->find("<image>"), 261);
  const test::TemporaryFolder copy;
  t->save(copy.path());
  EXPECT_EQ(load_tokenizer(copy.path())->vocab_size(), 262);
  put("added_tokens.json", {{"<tool>", 300}});
  expect_refused("has id 260 and 259 is the next free one");
  put("added_tokens.json", {{"<tool>", 260}});
  expect_refused("has id 260, which is '");
  put("added_tokens.json", {{"<tool>", 65}});
  expect_refused("is '<tool>' and token 65");
}

TEST_F(TokenizerFolder, ABrokenFileIsNamed) {
  expect_refused("no such file, nor spiece.model");
  put("tokenizer.json", byte_file());
  folder_.file("tokenizer_config.json", "{");
  expect_refused("tokenizer_config.json: is not JSON");
  put("tokenizer_config.json", {{"added_tokens_decoder", {{"-1", {{"content", "x"}}}}}});
  expect_refused("added_tokens_decoder.-1 is no token's id");
  put("tokenizer_config.json", {{"eos_token", 5}});
  expect_refused("eos_token");
}

TEST_F(TokenizerFolder, WarnsOfThePreTokenizerThatIsKnownToBeWrong) {
  json file = byte_file();
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const json split = {
      {"type", "Split"},
      {"pattern",
       {{"Regex",
         R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  int id = 259;
  for (const char* name : {"[INST]", "[/INST]", "[TOOL_CALLS]"})
    file["added_tokens"].push_back({{"id", id++}, {"content", name}, {"special", true}});
  put("tokenizer.json", file);
  EXPECT_TRUE(load()->warnings().empty()) << "a small vocabulary is not Tekken's";
  for (; id < 100'001; ++id) file["model"]["vocab"]["x" + std::to_string(id)] = id;
  put("tokenizer.json", file);
  const auto t = load();
  ASSERT_EQ(t->warnings().size(), 1u);
  EXPECT_NE(t->warnings()[0].find("eBay"), std::string::npos);
  EXPECT_EQ(t->encode("eBay"), (Ids{'e', 'B', 'a', 'y'}));
}

TEST_F(TokenizerFolder, CharactersMergeAndFallBackToBytes) {
  put("tokenizer.json", character_file());
  const auto t = load();
  EXPECT_EQ(t->encode("ab c"), (Ids{263, 258, 261}));
  EXPECT_EQ(t->encode("\xC3\xA9"), (Ids{258, 2 + 0xC3, 2 + 0xA9}));
  EXPECT_EQ(t->decode(t->encode("ab  c\xC3\xA9")), "ab  c\xC3\xA9");
  EXPECT_EQ(t->encode("</s>").front(), 258) << "special only on request";
  EXPECT_FALSE(t->lossless());
  // Two bytes of a character that is three long, then a letter: a sign each.
  StreamDecoder decoder(*t);
  EXPECT_EQ(decoder.push(2 + 0xE2), "");
  EXPECT_EQ(decoder.push(2 + 0x82), "");
  EXPECT_EQ(decoder.push(259),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoder.finish(), "");
  StreamDecoder middle(*t, StreamDecoder::From::middle);
  EXPECT_EQ(middle.push(263), " ab");
  json file = character_file();
  file["model"]["vocab"].erase("<0x41>");
  file["model"]["vocab"]["x"] = 2 + 0x41;
  put("tokenizer.json", file);
  expect_refused("lacks byte 65, written '<0x41>'; byte_fallback needs all 256");
}

TEST_F(TokenizerFolder, AddedTokensTakeSpaceAndStandAloneAsTheySay) {
  json file = byte_file();
  const auto add = [&](int id, const char* name, const char* flag) {
    json token = {{"id", id}, {"content", name}, {"special", false}, {"normalized", false}};
    if (flag != nullptr) token[flag] = true;
    file["added_tokens"].push_back(token);
  };
  add(259, "<l>", "lstrip");
  add(260, "<r>", "rstrip");
  add(261, "word", "single_word");
  add(262, "<l>long", nullptr);
  put("tokenizer.json", file);
  const auto t = load();
  EXPECT_EQ(t->encode("a  <l> b"), (Ids{'a', 259, ' ', 'b'}));
  EXPECT_EQ(t->encode("a <r>\n\xC2\xA0"
                      "b"),
            (Ids{'a', ' ', 260, 'b'}));
  EXPECT_EQ(t->encode("word-words"), (Ids{261, '-', 'w', 'o', 'r', 'd', 's'}));
  EXPECT_EQ(t->encode("<l>long"), (Ids{262}));
  EXPECT_EQ(t->encode("\xFF<l>"), (Ids{0xFF, 259}));
}

TEST_F(TokenizerFolder, NormalizersChangeTextStepByStep) {
  const auto normalized = [&](const json& normalizer, const std::string& text) {
    json file = byte_file();
    file["normalizer"] = normalizer;
    put("tokenizer.json", file);
    const auto t = load();
    return t->decode(t->encode(text));
  };
  const std::string composed = "\xC3\xA9", apart = "e\xCC\x81";
  EXPECT_EQ(normalized({{"type", "NFC"}}, "a" + apart + " x"), "a" + composed + " x");
  EXPECT_EQ(normalized({{"type", "NFD"}}, composed), apart);
  EXPECT_EQ(normalized({{"type", "NFKC"}}, "\xEF\xAC\x81"), "fi");
  EXPECT_EQ(normalized({{"type", "NFC"}}, "\xFF" + apart + "\xCC"), "\xFF" + composed + "\xCC");
  EXPECT_EQ(normalized({{"type", "Lowercase"}}, "\xC3\x89\xC4\xB0"), "\xC3\xA9i\xCC\x87");
  EXPECT_EQ(normalized({{"type", "Strip"}}, " \xC2\xA0 a b\n"), "a b");
  EXPECT_EQ(normalized({{"type", "Sequence"},
                        {"normalizers", {{{"type", "NFD"}}, {{"type", "StripAccents"}}}}},
                       composed),
            "e");
  EXPECT_EQ(
      normalized({{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", "b"}}, "caat"),
      "cbt");
  EXPECT_EQ(
      normalized({{"type", "Replace"}, {"pattern", {{"String", "a+"}}}, {"content", "b"}}, "ca+t"),
      "cbt");
  EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "x"}}, "a"), "xa");
  EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "x"}}, ""), "");
}

TEST_F(TokenizerFolder, ReplacementsDoNotMakeTextWithoutEnd) {
  json file = byte_file();
  const json longer = {
      {"type", "Replace"}, {"pattern", {{"Regex", "."}}}, {"content", std::string(50, 'x')}};
  file["normalizer"] = {{"type", "Sequence"},
                        {"normalizers", {longer, longer, longer, longer, longer}}};
  put("tokenizer.json", file);
  EXPECT_THROW(load()->encode(std::string(1000, 'a')), Error);
  file = character_file();
  const json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  json& decoders = file["decoder"]["decoders"];
  for (int i = 0; i < 20; ++i) decoders.insert(decoders.begin(), twice);
  put("tokenizer.json", file);
  expect_refused("its replacements are too long");
  file = character_file();
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "  "}};
  put("tokenizer.json", file);
  expect_refused("is not one character other than a space");
}

TEST_F(TokenizerFolder, RefusesATableOfCharactersThatLeadsOutOfItself) {
  json file = byte_file();
  const auto with = [&](const std::string& base64) {
    file["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", base64}};
    put("tokenizer.json", file);
  };
  with("!");
  expect_refused("is not base 64");
  with("AAAA");
  expect_refused("too small");
  with("BAAAAP////8AAAAA");  // four bytes of trie, a unit that is a value far away
  expect_refused("where no replacement begins");
  with("BAAAAAAAAAAAAAAA");  // a unit that leads to 256 more
  expect_refused("leads out of its 1 units");
}

}  // namespace
}  // namespace mote::text
