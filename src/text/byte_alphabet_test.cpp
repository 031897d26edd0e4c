#include "text/byte_alphabet.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

namespace mote::text {
namespace {

TEST(ByteAlphabet, WritesSpaceNewlineAndSoftHyphenAsGpt2Does) {
  EXPECT_EQ(to_byte_alphabet(" \n"), "\xC4\xA0\xC4\x8A");  // U+0120 U+010A
  EXPECT_EQ(to_byte_alphabet("\xAD"), "\xC5\x83");         // U+0143, the last
  EXPECT_EQ(to_byte_alphabet("\xFF~!"), "\xC3\xBF~!");
}

TEST(ByteAlphabet, KnowsNoOtherCharacter) {
  EXPECT_FALSE(from_byte_alphabet("a b"));           // a plain space
  EXPECT_FALSE(from_byte_alphabet("\xC5\x84"));      // U+0144
  EXPECT_FALSE(from_byte_alphabet("\xE2\x96\x81"));  // U+2581
}

RC_GTEST_PROP(ByteAlphabet, GivesBackWhatItWrote, (std::string bytes)) {
  RC_ASSERT(from_byte_alphabet(to_byte_alphabet(bytes)) == bytes);
}

}  // namespace
}  // namespace mote::text
