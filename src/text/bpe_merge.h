// The merges inside one piece of text, the lowest rank first and the leftmost of equals.
#pragma once

#include <cstdint>
#include <queue>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mote::text {

// Rank is a merge's place in the list.
struct RankedMerge {
  std::int32_t rank = -1;
  TokenId result = -1;
};

// (left, right) -> merge: open addressing, since a vocabulary has half a million and is built at
// every start.
class MergeTable {
 public:
  explicit MergeTable(std::size_t most = 0);
  bool empty() const { return size_ == 0; }
  // Keeps the merge that is there already.
  void add(TokenId left, TokenId right, RankedMerge merge);
  const RankedMerge* find(TokenId left, TokenId right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = slot(key);; at = (at + 1) & mask_) {
      if (entries_[at].key == key) return &entries_[at].merge;
      if (entries_[at].key == kFree) return nullptr;
    }
  }

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};
  struct Entry {
    std::uint64_t key = kFree;
    RankedMerge merge;
  };
  static std::uint64_t key_of(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t slot(std::uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  std::vector<Entry> entries_;
  std::size_t mask_ = 0, size_ = 0;
  int shift_ = 0;
};

// Neighbouring symbols of a piece: tokens, and (id -1) characters that are no token but may become
// part of one.
struct Symbol {
  TokenId id;
  std::uint32_t begin, end;  // bytes of the piece; equal once merged into the one before it
  std::int32_t previous, next;
};

// Where a pair's merge is found: by the ids, or by the text of both together.
class Merges {
 public:
  virtual ~Merges() = default;
  // rank -1: none.
  virtual RankedMerge of(const Symbol& left, const Symbol& right, std::string_view piece) const = 0;
};

// In O(n log n). One object serves many pieces, one after another.
class PieceMerger {
 public:
  void clear() { symbols_.clear(); }
  void add(TokenId id, std::size_t begin, std::size_t end);
  void merge(std::string_view piece, const Merges& merges);
  // each(symbol) for what is left, in order.
  template <class Each>
  void for_each(const Each& each) const {
    for (std::int32_t at = symbols_.empty() ? -1 : 0; at != -1; at = symbols_[index(at)].next)
      each(symbols_[index(at)]);
  }

 private:
  struct Candidate {
    RankedMerge merge;
    std::int32_t at;  // the left symbol
    bool operator>(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : at > other.at;
    }
  };
  static std::size_t index(std::int32_t at) { return static_cast<std::size_t>(at); }
  RankedMerge merge_at(std::int32_t at, std::string_view piece, const Merges& merges) const;
  void consider(std::int32_t at, std::string_view piece, const Merges& merges);

  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
};

}  // namespace mote::text
