#include "text/utf8.h"

#include <gtest/gtest.h>
#include <vector>

#include <rapidcheck/gtest.h>

namespace mote::text {
namespace {

using Kind = Utf8Sequence::Kind;

TEST(Utf8, EveryCharacterIsOneSequenceAndKeepsItsCode) {
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    append_utf8(text, code);
    const Utf8Sequence whole = first_sequence(text + "\x80");
    ASSERT_EQ(whole.kind, Kind::character) << code;
    ASSERT_EQ(whole.length, text.size()) << code;
    ASSERT_EQ(first_code_point(text), code);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const Utf8Sequence part = first_sequence(std::string_view(text).substr(0, cut));
      ASSERT_EQ(part.kind, Kind::incomplete) << code;
      ASSERT_EQ(part.length, cut) << code;
    }
  }
}

TEST(Utf8, SurrogatesOverlongFormsAndCodesAboveTheLastAreInvalidFromTheirFirstByte) {
  for (const char* text :
       {"\xED\xA0\x80", "\xED\xBF\xBF", "\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\x80"}) {
    EXPECT_EQ(first_sequence(text).kind, Kind::invalid) << text;
    EXPECT_EQ(first_sequence(text).length, 1u) << text;
  }
}

// The example of the Unicode standard, section 3.9, table 3-8 and 3-11.
TEST(Utf8, EachMaximalInvalidPartBecomesOneReplacement) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("caf\xC3\xA9 \xE2\x82"), "caf\xC3\xA9 " + r);
}

RC_GTEST_PROP(Utf8, ReplacingLeavesWellFormedTextAndKeepsWhatWasWellFormed, (std::string text)) {
  const std::string replaced = replace_invalid_utf8(text);
  RC_ASSERT(valid_utf8_prefix(replaced) == replaced.size());
  RC_ASSERT(replace_invalid_utf8(replaced) == replaced);
  const std::size_t valid = valid_utf8_prefix(text);
  RC_ASSERT(replaced.substr(0, valid) == text.substr(0, valid));
  RC_ASSERT((valid == text.size()) == (replaced == text));
}

TEST(Utf8, TheValidPrefixEndsAtTheFirstBadByteWhereverItStands) {
  for (std::size_t at = 0; at < 40; ++at) {
    std::string text(48, 'x');
    text[at] = '\xFE';
    EXPECT_EQ(valid_utf8_prefix(text), at);
  }
}

}  // namespace
}  // namespace mote::text
