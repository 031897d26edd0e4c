#include "text/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/files.h"
#include "tests/support/fixture_kinds.h"
#include "text/byte_alphabet.h"

namespace mote::text {
namespace {

using Ids = std::vector<TokenId>;

// The 256 bytes, "12", "th", "the", " the"; <|endoftext|> and <x>, which is no special token.
GgufVocabulary byte_level(const std::string& pre) {
  GgufVocabulary v;
  v.model = "gpt2";
  v.pre = pre;
  for (int byte = 0; byte < 256; ++byte)
    v.tokens.push_back(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
  for (const char* text : {"12", "th", "the", " the"}) v.tokens.push_back(to_byte_alphabet(text));
  v.types.assign(260, 1);
  v.tokens.insert(v.tokens.end(), {"<|endoftext|>", "<x>"});
  v.types.insert(v.types.end(), {3, 4});
  v.merges = {"1 2", "t h", "th e", to_byte_alphabet(" ") + " the"};
  v.roles.end = 260;
  return v;
}

Ids encode(const GgufVocabulary& v, const std::string& text,
           Specials specials = Specials::as_text) {
  return make_gguf_tokenizer(v, "x.gguf")->encode(text, specials);
}

TEST(GgufVocabulary, CutsTextAsItsPreTokenizerSays) {
  EXPECT_EQ(encode(byte_level("gpt-2"), "the the12"), (Ids{258, 259, 256}));
  EXPECT_EQ(encode(byte_level("smollm"), "the the12"), (Ids{258, 259, '1', '2'}));
  EXPECT_EQ(encode(byte_level("qwen2"), "12"), (Ids{'1', '2'}));
  EXPECT_EQ(encode(byte_level("llama-bpe"), "12"), (Ids{256}));
  EXPECT_EQ(encode(byte_level("deepseek-v3"), " the12"), (Ids{259, 256}));
  // Without leave to ignore merges a token that no merges lead to is never made.
  GgufVocabulary v = byte_level("gpt-2");
  v.merges.pop_back();
  EXPECT_EQ(encode(v, " the"), (Ids{' ', 258}));
  v.pre = "gpt-4o";
  EXPECT_EQ(encode(v, " the"), (Ids{259}));
}

TEST(GgufVocabulary, FindsUserDefinedTokensAlwaysAndControlTokensOnRequest) {
  const GgufVocabulary v = byte_level("gpt-2");
  EXPECT_EQ(encode(v, "<x>"), (Ids{261}));
  EXPECT_NE(encode(v, "<|endoftext|>"), (Ids{260}));
  EXPECT_EQ(encode(v, "<|endoftext|>", Specials::recognised), (Ids{260}));
  EXPECT_EQ(make_gguf_tokenizer(v, "x")->end_of_text(), 260);
}

TEST(GgufVocabulary, PutsTokensAroundATextAsTheFileSays) {
  GgufVocabulary v = byte_level("gpt-2");
  EXPECT_EQ(make_gguf_tokenizer(v, "x")->encode_alone("a"), (Ids{'a'}));
  v.roles.begin = 260;
  v.add_begin = true;
  v.add_end = true;
  EXPECT_EQ(make_gguf_tokenizer(v, "x")->encode_alone("a"), (Ids{260, 'a', 260}));
}

// unk, bos, eos, the 256 bytes, the sign, letters, and pieces with scores: the higher is joined first.
GgufVocabulary scored() {
  GgufVocabulary v;
  v.model = "llama";
  v.tokens = {"<unk>", "<s>", "</s>"};
  v.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    v.tokens.push_back(text);
    v.types.push_back(6);
  }
  v.scores.assign(v.tokens.size(), 0);
  float score = -1;
  for (const char* text : {"ab", "bc",
                           "\xE2\x96\x81"
                           "a",
                           "abc",
                           "\xE2\x96\x81"
                           "abc",
                           "\xE2\x96\x81", "a", "b", "c"}) {
    v.tokens.push_back(text);
    v.types.push_back(1);
    v.scores.push_back(score--);
  }
  v.tokens.push_back("[A]");
  v.types.push_back(4);
  v.scores.push_back(0);
  v.roles = {1, 2, std::nullopt, 0};
  return v;
}
constexpr TokenId kFirst = 259, kAb = kFirst, kBc = kFirst + 1, kSignAbc = kFirst + 4,
                  kSign = kFirst + 5, kA = kFirst + 6, kB = kFirst + 7, kC = kFirst + 8,
                  kUser = kFirst + 9;

TEST(GgufVocabulary, JoinsThePairOfTheHighestScoreFirst) {
  EXPECT_EQ(encode(scored(), "abc"), (Ids{kSignAbc}));
  EXPECT_EQ(encode(scored(), "xbc"), (Ids{kSign, 3 + 'x', kBc}));
  GgufVocabulary v = scored();
  v.scores[kBc] = 0;  // before ab
  EXPECT_EQ(encode(v, "bcb"), (Ids{kSign, kBc, kB}));
  v.tokens[kFirst + 3] = "abd";
  v.tokens[kSignAbc] = "abe";
  EXPECT_EQ(encode(v, "cabc"), (Ids{kSign, kC, kA, kBc}));
}

TEST(GgufVocabulary, FallsBackToBytesForWhatIsNoToken) {
  EXPECT_EQ(encode(scored(), "\xC3\xA9"), (Ids{kSign, 3 + 0xC3, 3 + 0xA9}));
  const auto t = make_gguf_tokenizer(scored(), "x");
  EXPECT_EQ(t->decode(t->encode("ab \xC3\xA9  c")), "ab \xC3\xA9  c");
}

TEST(GgufVocabulary, PutsASpaceBeforeTextAndAfterSpecialTokensUnlessTheFileSaysNo) {
  EXPECT_EQ(encode(scored(), "ab[A]ab</s>ab", Specials::recognised),
            (Ids{kSign, kAb, kUser, kSign, kAb, 2, kSign, kAb}));
  GgufVocabulary v = scored();
  v.space_prefix = false;
  EXPECT_EQ(encode(v, "ab</s>ab", Specials::recognised), (Ids{kAb, 2, kAb}));
  EXPECT_EQ(make_gguf_tokenizer(v, "x")->encode_alone("ab"), (Ids{1, kAb}));
  EXPECT_EQ(make_gguf_tokenizer(v, "x")->decode(Ids{kSign, kAb}), " ab");
  EXPECT_EQ(make_gguf_tokenizer(scored(), "x")->decode(Ids{kSign, kAb}), "ab");
}

TEST(GgufVocabulary, IsSavedAsTokenizerJsonWithTheSameIds) {
  for (const GgufVocabulary& v : {byte_level("smollm"), byte_level("llama-bpe"), scored()}) {
    const auto before = make_gguf_tokenizer(v, "x");
    const test::TemporaryFolder folder;
    before->save(folder.path());
    const auto after = load_tokenizer(folder.path());
    ASSERT_EQ(after->vocab_size(), before->vocab_size());
    for (const char* text :
         {"the the12 <x>", "abc ab  cab\xC3\xA9 x", "", "</s> a <|endoftext|>"}) {
      EXPECT_EQ(after->encode(text, Specials::as_text), before->encode(text, Specials::as_text))
          << text;
      EXPECT_EQ(after->encode_alone(text), before->encode_alone(text)) << text;
      EXPECT_EQ(after->decode(after->encode(text)), before->decode(before->encode(text))) << text;
    }
  }
}

void expect_refused(GgufVocabulary v, const std::string& field, const std::string& part,
                    ErrorKind kind = ErrorKind::file) {
  try {
    make_gguf_tokenizer(std::move(v), "x.gguf");
    ADD_FAILURE() << "accepted, expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_EQ(error.field(), "tokenizer.ggml." + field) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(GgufVocabulary, RefusesByNameWhatItDoesNotKnow) {
  expect_refused(byte_level("mine"), "pre", "is 'mine'; known are gpt-2", ErrorKind::unsupported);
  expect_refused(byte_level(""), "pre", "is missing", ErrorKind::unsupported);
  GgufVocabulary v = byte_level("gpt-2");
  v.model = "rwkv";
  expect_refused(v, "model", "is 'rwkv'", ErrorKind::unsupported);
}

// SmolLM2's lacks one.
TEST(GgufVocabulary, LeavesOutBytesThatItLacksAndSaysSo) {
  GgufVocabulary v = byte_level("gpt-2");
  EXPECT_TRUE(make_gguf_tokenizer(v, "x.gguf")->warnings().empty());
  v.tokens[5] = "the2";
  const auto t = make_gguf_tokenizer(v, "x.gguf");
  ASSERT_EQ(t->warnings().size(), 1u);
  EXPECT_NE(t->warnings()[0].find("lacks 1 of the 256 bytes"), std::string::npos);
  EXPECT_EQ(t->encode("\x05x\x05"), (Ids{'x'}));
  EXPECT_FALSE(t->lossless());
}

TEST(GgufVocabulary, RefusesListsThatDisagree) {
  GgufVocabulary v = byte_level("gpt-2");
  v.types.pop_back();
  expect_refused(v, "token_type", "has 261 entries and tokens 262");
  v = byte_level("gpt-2");
  v.types[0] = 9;
  expect_refused(v, "token_type", "of token 0 is 9");
  v = byte_level("gpt-2");
  v.merges.push_back("th th");
  expect_refused(v, "merges", "[4] needs 'thth'");
  v = byte_level("gpt-2");
  v.roles.end = 262;
  expect_refused(v, "eos_token_id", "is 262 in a vocabulary of 262");
  v = scored();
  v.scores.pop_back();
  expect_refused(v, "scores", "entries and tokens");
  v = scored();
  v.tokens[10] = "<0xZZ>";
  expect_refused(v, "tokens", "written '<0xZZ>'");
  v = scored();
  v.types[10] = 1;
  expect_refused(v, "tokens", "lacks 1 of the 256 byte tokens");
  v = scored();
  v.tokens[kA] = "\xFF";
  expect_refused(v, "tokens", "not UTF-8");
}

// ---- the other way

void expect_same_cuts(const Tokenizer& wanted, const GgufVocabulary& v) {
  const auto got = make_gguf_tokenizer(v, "x.gguf");
  for (const char* text : {"", "the the12", "<x> the", "ab abc a", "caf\xC3\xA9 \n\n x"}) {
    EXPECT_EQ(got->encode_alone(text), wanted.encode_alone(text)) << text;
    const Ids ids = wanted.encode(text, Specials::recognised);
    EXPECT_EQ(got->encode(text, Specials::recognised), ids) << text;
    EXPECT_EQ(got->decode(ids), wanted.decode(ids)) << text;
  }
}

TEST(GgufVocabulary, IsMadeOfATokenizerAsItWas) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    GgufVocabulary v = byte_level(pre);
    v.roles.begin = 260;
    v.add_begin = true;
    const auto tokenizer = make_gguf_tokenizer(v, "x.gguf");
    const GgufVocabulary made = gguf_vocabulary(*tokenizer, "x");
    EXPECT_EQ(made.pre, pre);
    EXPECT_EQ(made.tokens, v.tokens);
    EXPECT_EQ(made.types, v.types);
    EXPECT_EQ(made.merges, v.merges);
    EXPECT_EQ(made.add_begin, true);
    expect_same_cuts(*tokenizer, made);
  }
  const auto tokenizer = make_gguf_tokenizer(scored(), "x.gguf");
  const GgufVocabulary made = gguf_vocabulary(*tokenizer, "x");
  EXPECT_EQ(made.tokens, scored().tokens);
  EXPECT_EQ(made.types, scored().types);
  EXPECT_EQ(made.scores, scored().scores);
  expect_same_cuts(*tokenizer, made);
}

TEST(GgufVocabulary, IsMadeOfMergesOfCharactersInTheirOrder) {
  // As published folders have SentencePiece's BPE: merges instead of scores.
  const test::TemporaryFolder folder;
  make_gguf_tokenizer(scored(), "x.gguf")->save(folder.path());
  const auto tokenizer = load_tokenizer(folder.path());
  expect_same_cuts(*tokenizer, gguf_vocabulary(*tokenizer, "x"));
}

TEST(GgufVocabulary, IsPaddedByUnusedTokens) {
  GgufVocabulary v = byte_level("gpt-2");
  pad_vocabulary(v, 264);
  EXPECT_EQ(v.tokens.size(), 264u);
  EXPECT_EQ(v.types.back(), 5);
  EXPECT_EQ(make_gguf_tokenizer(v, "x")->vocab_size(), 264);
}

TEST(FixturesGgufVocabulary, CutsAsThePublishedTokenizersDo) {
  const auto folders = test::fixtures_of_kind("tokenizer:byte-level-bpe");
  if (folders.empty()) GTEST_SKIP() << "no reference outputs at " << test::fixtures_folder();
  for (const fs::path& folder : folders) {
    SCOPED_TRACE(folder);
    const auto tokenizer = load_tokenizer(folder);
    expect_same_cuts(*tokenizer, gguf_vocabulary(*tokenizer, folder.string()));
  }
}

}  // namespace
}  // namespace mote::text
