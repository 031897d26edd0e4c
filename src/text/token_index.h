// Tokens by their text, where a hash map would take four times the memory: open addressing, at most half
// full. The texts are those of the tokens, which outlive it.
#pragma once

#include <bit>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer_model.h"

namespace mote::text {

class TokenIndex {
 public:
  explicit TokenIndex(const std::vector<TokenizerModel::Token>& tokens) : tokens_(tokens) {}

  // Room for all of them, before the first add().
  void reserve() { slots_.assign(std::bit_ceil(2 * tokens_.size() + 1), kFree); }
  bool empty() const { return slots_.empty(); }
  // Of tokens with one text the first is found.
  void add(TokenId id) {
    TokenId& slot = slots_[slot_of(text(id))];
    if (slot == kFree) slot = id;
  }
  std::optional<TokenId> find(std::string_view text) const {
    if (empty()) return std::nullopt;
    const TokenId id = slots_[slot_of(text)];
    return id == kFree ? std::nullopt : std::optional(id);
  }

 private:
  static constexpr TokenId kFree = -1;
  std::string_view text(TokenId id) const { return tokens_[static_cast<std::size_t>(id)].bytes; }
  // Its own, or the free one where it would be.
  std::size_t slot_of(std::string_view wanted) const {
    std::size_t at = std::hash<std::string_view>()(wanted) & (slots_.size() - 1);
    while (slots_[at] != kFree && text(slots_[at]) != wanted) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  const std::vector<TokenizerModel::Token>& tokens_;
  std::vector<TokenId> slots_;
};

}  // namespace mote::text
