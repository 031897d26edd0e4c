// Unigram language model (Kudo 2018): the cut of a text into tokens whose scores (log
// probabilities) sum to most, by Viterbi over a trie of the tokens.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mote::text {

class Unigram {
 public:
  struct Part {
    std::size_t begin, end;
    std::int32_t id;  // -1: a run of characters that are no token
  };

  // `score` orders cuts; characters that are no token score 10 less than the least of `least`.
  void add(std::string_view token, std::int32_t id, double score);
  void set_least(double score) { unknown_score_ = score - 10; }

  // Sums are in double; of equal cuts the one found first, from left to right and by shorter
  // tokens. Runs of unknown characters are one part if `fuse`.
  std::vector<Part> cut(std::string_view text, bool fuse) const;

 private:
  struct Node {
    std::int32_t id = -1;
    double score = 0;
  };
  std::unordered_map<std::uint64_t, std::uint32_t> child_;  // by node and byte
  std::vector<Node> nodes_{1};
  double unknown_score_ = 0;
};

}  // namespace mote::text
