// Numbers of the places that draw random numbers, part of their keys.
#pragma once

#include <cstdint>

namespace mote::model {

enum class Site : std::int64_t {
  attention_output,
  feed_forward_hidden,
  feed_forward_output,
  experts,
  count
};

// Layers are numbered from 0, those of an encoder from another number on; cross attentions, embeddings
// and what leaves a stack have sites of their own.
inline constexpr std::int64_t kEncoderLayers = 100'000, kCrossAttentions = 1 << 19;
inline constexpr std::int64_t kEmbeddingSite = 1 << 20;
inline constexpr std::int64_t kHeadSite = kEmbeddingSite + 1, kSourceEmbeddingSite = kHeadSite + 1,
                              kSourceSite = kHeadSite + 2;

inline std::int64_t site(std::int64_t layer, Site place) {
  return layer * static_cast<std::int64_t>(Site::count) + static_cast<std::int64_t>(place);
}

}  // namespace mote::model
