#include "text/pretokenize.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "base/check.h"

namespace mote::text {
namespace {

using Pieces = std::vector<std::string>;

Pieces split(std::string_view text, const std::vector<std::string>& patterns = {kGpt2Pattern}) {
  Pieces pieces;
  PreTokenizer(patterns).split(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

std::string joined(const Pieces& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

TEST(PreTokenizer, CutsWordsNumbersSignsAndContractions) {
  EXPECT_EQ(split("It's 12 o'clock, isn't it?"),
            (Pieces{"It", "'s", " 12", " o", "'", "clock", ",", " isn", "'t", " it", "?"}));
  EXPECT_EQ(split("IT'S"), (Pieces{"IT", "'", "S"}));
}

TEST(PreTokenizer, LeavesTheLastSpaceOfARunToTheWord) {
  EXPECT_EQ(split("a   b\n\nc  "), (Pieces{"a", "  ", " b", "\n", "\n", "c", "  "}));
}

TEST(PreTokenizer, TakesUnicodeLettersDigitsAndSpaces) {
  EXPECT_EQ(split("na\xC3\xAFve \xD9\xA1\xD9\xA2\xC2\xA0x"),
            (Pieces{"na\xC3\xAFve", " \xD9\xA1\xD9\xA2", "\xC2\xA0", "x"}));
  // U+180E is no space since Unicode 6.3.
  EXPECT_EQ(split("\xE1\xA0\x8E!"), (Pieces{"\xE1\xA0\x8E!"}));
}

TEST(PreTokenizer, MakesARunOfBytesThatAreNotUtf8OnePiece) {
  EXPECT_EQ(split("ab\xFF\xFE\xC3 cd\xE2\x82"), (Pieces{"ab", "\xFF\xFE\xC3", " cd", "\xE2\x82"}));
}

TEST(PreTokenizer, AppliesEachPatternToWhatTheOneBeforeLeft) {
  EXPECT_EQ(split("ab12 c", {"\\p{N}", kGpt2Pattern}), (Pieces{"ab", "1", "2", " c"}));
  EXPECT_EQ(split("a-b", {"-"}), (Pieces{"a", "-", "b"}));
  EXPECT_EQ(split("a-b", {}), (Pieces{"a-b"}));
}

TEST(PreTokenizer, RefusesAPatternThatDoesNotCompile) {
  try {
    PreTokenizer({"(a"});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'(a'"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("at byte 2"), std::string::npos) << error.what();
  }
  EXPECT_THROW(PreTokenizer({"\\C"}), Error);
}

TEST(PreTokenizer, GivesUpOnAPatternThatTakesForEver) {
  EXPECT_THROW(split(std::string(40, 'a') + "!", {"(a|aa)+$"}), Error);
}

TEST(PreTokenizer, PassesOverEmptyMatchesAndKeepsWhatAMatchLeavesOut) {
  EXPECT_EQ(split("abc", {"x*"}), (Pieces{"abc"}));
  EXPECT_EQ(split("abc", {"b\\Kc|a\\K"}), (Pieces{"ab", "c"}));
}

RC_GTEST_PROP(PreTokenizer, ThePiecesAreTheText, (std::string text)) {
  const Pieces pieces = split(text);
  RC_ASSERT(joined(pieces) == text);
  for (const std::string& piece : pieces) RC_ASSERT(!piece.empty());
}

rc::Gen<std::string> wordy() {
  return rc::gen::container<std::string>(
      rc::gen::elementOf(std::string("ab'sll.1 \n\t\xC2\xA0\xC3\xFF")));
}

RC_GTEST_PROP(CutBetweenWords, PartsAreTheTextAndSplitLikeTheWhole, ()) {
  const std::string text = *wordy();
  const auto bytes = *rc::gen::inRange<std::size_t>(0, 6);
  Pieces parts, pieces;
  for (const std::string_view part : cut_between_words(text, bytes)) {
    RC_ASSERT(!part.empty());
    parts.emplace_back(part);
    for (const std::string& piece : split(part)) pieces.push_back(piece);
  }
  RC_ASSERT(joined(parts) == text);
  RC_ASSERT(pieces == split(text));
}

TEST(CutBetweenWords, CutsALongTextIntoPartsOfAboutTheSizeAskedFor) {
  std::string text;
  while (text.size() < 100'000) text += "some words and\nlines ";
  const auto parts = cut_between_words(text, 1000);
  EXPECT_GE(parts.size(), 95u);
  for (const std::string_view part : parts) EXPECT_LE(part.size(), 1010u);
}

}  // namespace
}  // namespace mote::text
