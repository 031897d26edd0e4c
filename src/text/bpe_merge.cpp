#include "text/bpe_merge.h"

#include <bit>
#include <limits>

#include "base/check.h"
#include "base/process.h"

namespace mote::text {

MergeTable::MergeTable(std::size_t most) {
  const std::size_t size = std::bit_ceil(2 * most + 2);
  entries_.resize(size);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
}

void MergeTable::add(TokenId left, TokenId right, RankedMerge merge) {
  const std::uint64_t key = key_of(left, right);
  for (std::size_t at = slot(key);; at = (at + 1) & mask_) {
    if (entries_[at].key == key) return;
    if (entries_[at].key != kFree) continue;
    entries_[at] = {key, merge};
    ++size_;
    return;
  }
}

void PieceMerger::add(TokenId id, std::size_t begin, std::size_t end) {
  MOTE_CHECK(end <= std::numeric_limits<std::int32_t>::max(), "a word of more than ", end,
             " bytes is too long to encode; cut the text");
  const auto at = static_cast<std::int32_t>(symbols_.size());
  if (at > 0) symbols_.back().next = at;
  symbols_.push_back(
      {id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), at - 1, -1});
}

RankedMerge PieceMerger::merge_at(std::int32_t at, std::string_view piece,
                                  const Merges& merges) const {
  const Symbol& left = symbols_[index(at)];
  if (left.begin == left.end || left.next == -1) return {};
  return merges.of(left, symbols_[index(left.next)], piece);
}

void PieceMerger::consider(std::int32_t at, std::string_view piece, const Merges& merges) {
  if (const RankedMerge merge = merge_at(at, piece, merges); merge.rank >= 0)
    queue_.push({merge, at});
}

void PieceMerger::merge(std::string_view piece, const Merges& merges) {
  const auto count = static_cast<std::int32_t>(symbols_.size());
  for (std::int32_t i = 0; i + 1 < count; ++i) stop_if_interrupted(), consider(i, piece, merges);
  while (!queue_.empty()) {
    stop_if_interrupted();  // one word may be a whole file
    const Candidate best = queue_.top();
    queue_.pop();
    const RankedMerge now = merge_at(best.at, piece, merges);
    if (now.rank != best.merge.rank || now.result != best.merge.result) continue;
    Symbol& left = symbols_[index(best.at)];
    Symbol& right = symbols_[index(left.next)];
    left.id = best.merge.result;
    left.end = right.end;
    left.next = right.next;
    right.begin = right.end;
    if (left.next != -1) {
      symbols_[index(left.next)].previous = best.at;
      consider(best.at, piece, merges);
    }
    if (left.previous != -1) consider(left.previous, piece, merges);
  }
}

}  // namespace mote::text
