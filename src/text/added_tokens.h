// Tokens that are found in text before anything else is done to it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace mote::text {

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;
  bool single_word = false;  // not beside a letter, digit or underscore
  bool strip_left = false;   // takes the white space before it
  bool strip_right = false;  // and after it
  bool normalized = false;   // looked for in normalized text, not in the text as it is
};

// Finds the leftmost token and of those the longest, again and again, as the tokenizers library does.
class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Match {
    std::size_t begin, end;
    TokenId id;
  };
  bool empty() const { return tokens_.empty(); }
  // The next match from `from`, special ones only if asked; begin is text.size() if there is none.
  Match find(std::string_view text, std::size_t from, bool specials) const;

 private:
  // The longest token at the start of `text`; nullptr if none.
  const AddedToken* longest(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  // A trie: a node's children by (node, byte).
  std::unordered_map<std::uint64_t, std::uint32_t> child_;
  std::vector<std::int32_t> token_at_;  // by node, -1: none ends here
  std::array<bool, 256> can_start_{};
};

}  // namespace mote::text
