// What pieces of text became, for the length of one call: words come again and again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mote::text {

class PieceCache {
 public:
  PieceCache() : slots_(kFirstSlots) {}

  // The ids of `piece`, until the next call; nullptr if it was not met.
  const std::span<const TokenId>* find(std::string_view piece);
  // After find() of the same piece found nothing.
  void add(std::string_view piece, std::span<const TokenId> ids);

 private:
  // Enough for the words of a document, little memory for a hostile one.
  static constexpr std::size_t kFirstSlots = 1 << 10, kMostPieces = 1 << 16, kMostBytes = 64;
  struct Slot {
    std::uint64_t hash = 0;  // 0: free
    std::uint32_t text = 0, size = 0, ids = 0, count = 0;
  };
  std::size_t place(std::uint64_t hash, std::string_view piece) const;
  void grow();

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
  std::uint64_t hash_ = 0;  // of what find() looked for
  std::string texts_;
  std::vector<TokenId> ids_;
  std::span<const TokenId> found_;
};

}  // namespace mote::text
