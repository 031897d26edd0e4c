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

// Layers are numbered from 0; the embedding and the head have numbers of their own.
inline constexpr std::int64_t kEmbeddingSite = 1 << 20;
inline constexpr std::int64_t kHeadSite = kEmbeddingSite + 1;

inline std::int64_t site(std::int64_t layer, Site place) {
  return layer * static_cast<std::int64_t>(Site::count) + static_cast<std::int64_t>(place);
}

}  // namespace mote::model
