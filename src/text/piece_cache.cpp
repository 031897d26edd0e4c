#include "text/piece_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace mote::text {

std::size_t PieceCache::place(std::uint64_t hash, std::string_view piece) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash == 0) return at;
    if (slot.hash == hash && std::string_view(texts_).substr(slot.text, slot.size) == piece)
      return at;
  }
}

const std::span<const TokenId>* PieceCache::find(std::string_view piece) {
  if (piece.size() > kMostBytes) return nullptr;
  hash_ = XXH3_64bits(piece.data(), piece.size()) | 1;
  const Slot& slot = slots_[place(hash_, piece)];
  if (slot.hash == 0) return nullptr;
  found_ = std::span(ids_).subspan(slot.ids, slot.count);
  return &found_;
}

void PieceCache::add(std::string_view piece, std::span<const TokenId> ids) {
  if (piece.size() > kMostBytes || used_ == kMostPieces) return;
  if (2 * used_ >= slots_.size()) grow();
  slots_[place(hash_, piece)] = {
      hash_, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(piece.size()),
      static_cast<std::uint32_t>(ids_.size()), static_cast<std::uint32_t>(ids.size())};
  texts_ += piece;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++used_;
}

void PieceCache::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.hash != 0)
      slots_[place(slot.hash, std::string_view(texts_).substr(slot.text, slot.size))] = slot;
}

}  // namespace mote::text
