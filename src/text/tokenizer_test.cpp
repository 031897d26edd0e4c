#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "base/check.h"
#include "text/bpe.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

std::string stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const TokenId id : ids) {
    const std::string part = decoder.push(id);
    EXPECT_EQ(valid_utf8_prefix(part), part.size()) << "a part that is not UTF-8";
    text += part;
  }
  return text + decoder.finish();
}

TEST(StreamDecoder, HoldsACharacterBackUntilItsLastByte) {
  const auto bytes = make_byte_tokenizer();
  StreamDecoder decoder(*bytes);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, ReplacesAnInvalidPartAsSoonAsItIsKnownToBeOne) {
  const auto bytes = make_byte_tokenizer();
  StreamDecoder decoder(*bytes);
  EXPECT_EQ(decoder.push(0xFF), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push('x'), "\xEF\xBF\xBDx");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, ASpecialTokenSaysNothing) {
  const auto bytes = make_byte_tokenizer();
  StreamDecoder decoder(*bytes);
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.push(bytes->end_of_text()), "");
  EXPECT_EQ(decoder.push(0xA9), "\xC3\xA9");
}

// Bytes that make whole, broken and cut characters likely.
rc::Gen<std::string> utf8_like() {
  const auto byte = rc::gen::weightedOneOf<int>({{2, rc::gen::inRange(0x20, 0x7F)},
                                                 {4, rc::gen::inRange(0x80, 0xC0)},
                                                 {3, rc::gen::inRange(0xC0, 0x100)}});
  return rc::gen::container<std::string>(
      rc::gen::map(byte, [](int value) { return static_cast<char>(value); }));
}

RC_GTEST_PROP(StreamDecoder, SaysWhatDecodingTheWholeSays, ()) {
  const std::string text = *utf8_like();
  const auto bytes = make_byte_tokenizer();
  const std::vector<TokenId> ids = bytes->encode(text);
  RC_ASSERT(bytes->decode(ids) == text);
  RC_ASSERT(stream(*bytes, ids) == replace_invalid_utf8(text));
}

TEST(ByteTokenizer, NumbersBytesByTheirValueAndEndOfText256) {
  const auto bytes = make_byte_tokenizer();
  EXPECT_EQ(bytes->vocab_size(), 257);
  EXPECT_EQ(bytes->end_of_text(), 256);
  EXPECT_EQ(bytes->encode(std::string_view("a\0\xFF", 3)), (std::vector<TokenId>{97, 0, 255}));
  EXPECT_EQ(bytes->bytes(256), "");
}

TEST(ByteTokenizer, RefusesAnIdOutsideItsVocabulary) {
  const auto bytes = make_byte_tokenizer();
  EXPECT_THROW(bytes->bytes(257), Error);
  EXPECT_THROW(bytes->bytes(-1), Error);
}

}  // namespace
}  // namespace mote::text
