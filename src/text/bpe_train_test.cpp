#include "text/bpe_train.h"

#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>

#include <rapidcheck/gtest.h>

#include "text/pretokenize.h"

namespace mote::text {
namespace {

constexpr TokenId kFirst = 257;

// The definition: count every pair anew before each merge.
std::vector<Merge> learn_by_counting(const std::vector<CountedPiece>& pieces, int most) {
  std::vector<std::vector<TokenId>> words;
  for (const CountedPiece& piece : pieces) {
    words.emplace_back();
    for (const char c : piece.bytes) words.back().push_back(static_cast<std::uint8_t>(c));
  }
  std::vector<Merge> merges;
  while (static_cast<int>(merges.size()) < most) {
    std::map<std::pair<TokenId, TokenId>, std::uint64_t> counts;
    for (std::size_t w = 0; w < words.size(); ++w)
      for (std::size_t i = 0; i + 1 < words[w].size(); ++i)
        counts[{words[w][i], words[w][i + 1]}] += pieces[w].count;
    std::pair<TokenId, TokenId> best;
    std::uint64_t most_often = 1;
    for (const auto& [pair, count] : counts)  // in increasing order: the first of equals stays
      if (count > most_often) best = pair, most_often = count;
    if (most_often < 2) break;
    const auto result = kFirst + static_cast<TokenId>(merges.size());
    merges.push_back({best.first, best.second, result});
    for (std::vector<TokenId>& word : words) {
      std::vector<TokenId> merged;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool here =
            i + 1 < word.size() && word[i] == best.first && word[i + 1] == best.second;
        merged.push_back(here ? result : word[i]);
        if (here) ++i;
      }
      word = merged;
    }
  }
  return merges;
}

// Whether no two merges make the same bytes.
bool all_different(const std::vector<Merge>& merges) {
  std::map<TokenId, std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes[byte] = std::string(1, static_cast<char>(byte));
  std::set<std::string> made;
  for (const Merge& merge : merges)
    made.insert(bytes[merge.result] = bytes[merge.left] + bytes[merge.right]);
  return made.size() == merges.size();
}

TEST(LearnMerges, TakesTheMostFrequentPairAndOfEqualsTheSmallest) {
  const auto merges = learn_merges({{"ab", 5}, {"cd", 5}, {"bc", 6}}, kFirst, 3);
  EXPECT_EQ(merges, (std::vector<Merge>{{'b', 'c', 257}, {'a', 'b', 258}, {'c', 'd', 259}}));
}

TEST(LearnMerges, CountsOverlappingPairsAndMergesThemFromTheLeft) {
  const auto merges = learn_merges({{"aaaaa", 1}}, kFirst, 10);
  EXPECT_EQ(merges, (std::vector<Merge>{{'a', 'a', 257}}));  // then "aa aa a": no pair twice
}

TEST(LearnMerges, StopsWhenNoPairOccursTwice) {
  EXPECT_EQ(learn_merges({{"ab", 1}, {"cd", 1}}, kFirst, 10), std::vector<Merge>{});
  EXPECT_EQ(learn_merges({}, kFirst, 10), std::vector<Merge>{});
  EXPECT_EQ(learn_merges({{"ab", 9}}, kFirst, 0), std::vector<Merge>{});
}

// Few letters, so that runs, overlaps and equal counts are common.
rc::Gen<std::vector<std::pair<std::string, int>>> words() {
  const auto word =
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf(std::string("aabc"))));
  return rc::gen::container<std::vector<std::pair<std::string, int>>>(
      rc::gen::pair(word, rc::gen::inRange(1, 5)));
}

RC_GTEST_PROP(LearnMerges, EqualsCountingEverythingAnewEachTime, ()) {
  const auto chosen = *words();
  std::vector<CountedPiece> pieces;
  for (const auto& [bytes, count] : chosen)
    pieces.push_back({bytes, static_cast<std::uint64_t>(count)});
  const std::vector<Merge> merges = learn_merges(pieces, kFirst, 60);
  RC_ASSERT(merges == learn_by_counting(pieces, 60));
  RC_ASSERT(all_different(merges));
}

std::string sample_text() {
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += "The " + std::to_string(i * 7919 % 613) + " sparse routers don't route \xFF" +
            (i % 3 == 0 ? "\n\n" : " again, ") + std::string(static_cast<std::size_t>(i % 5), ' ');
  return text;
}

TEST(LearnMerges, EqualsCountingEverythingAnewOnText) {
  const std::string text = sample_text();
  const auto pieces = count_pieces({text}, 1);
  const auto merges = learn_merges(pieces, kFirst, 200);
  EXPECT_GT(merges.size(), 80u);
  EXPECT_EQ(merges, learn_by_counting(pieces, 200));
}

TEST(CountPieces, CountsEachDifferentPieceInTheOrderOfBytes) {
  const std::string one = "a b a", other = " b";
  EXPECT_EQ(count_pieces({one, other}, 1),
            (std::vector<CountedPiece>{{" a", 1}, {" b", 2}, {"a", 1}}));
}

TEST(CountPieces, AreTheSameForAnyNumberOfThreads) {
  std::string text;
  while (text.size() < 3'000'000) text += sample_text();  // several parts
  const auto alone = count_pieces({text}, 1);
  EXPECT_EQ(count_pieces({text}, 2), alone);
  EXPECT_EQ(count_pieces({text}, 3), alone);
}

}  // namespace
}  // namespace mote::text
