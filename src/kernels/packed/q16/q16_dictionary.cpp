#include <array>
#include <functional>
#include <queue>
#include <vector>

#include "kernels/packed/q16/q16.h"

namespace mote::kernels {
namespace {

constexpr int kNumPairs = static_cast<int>(kQ16Pairs);

// A candidate for the dictionary. `sequence` holds its pairs from the highest of 14 nibbles down,
// each plus 1, so that comparing numbers compares the lists, a prefix before what it begins.
struct Candidate {
  double key;
  std::uint64_t sequence;
  std::int32_t parent;
  std::int32_t pairs;

  std::uint32_t pair(int i) const {
    return static_cast<std::uint32_t>(sequence >> (52 - 4 * i) & 15) - 1;
  }
  bool operator>(const Candidate& other) const {
    return key != other.key ? key > other.key : sequence > other.sequence;
  }
};

std::uint32_t compact_entry(const Candidate& is) {
  std::uint32_t entry = static_cast<std::uint32_t>(2 * is.pairs) << 24;
  int slot = 0;
  for (int i = 0; i < is.pairs; ++i) {
    const std::uint32_t trits[2] = {is.pair(i) % 3, is.pair(i) / 3};
    for (std::uint32_t half = 0; half < 2; ++half)
      if (trits[half] != 0)
        entry |= (4 * (static_cast<std::uint32_t>(2 * i) + half) + trits[half]) << 8 * slot++;
  }
  return entry;
}

struct Dictionary {
  std::vector<std::uint32_t> entries = std::vector<std::uint32_t>(kQ16Entries);
  std::vector<std::int32_t> trie = std::vector<std::int32_t>((kQ16Entries + 1) * kNumPairs, -1);

  // Takes the most probable sequence and offers its nine extensions, 65536 times. The products are
  // rounded left to right: equal probabilities then differ in their last bits, and that order is
  // part of the format.
  Dictionary() {
    const double p[3] = {0.885, (1 - 0.885) / 2, (1 - 0.885) / 2};
    std::array<double, kNumPairs> probability;
    for (std::size_t pair = 0; pair < kNumPairs; ++pair)
      probability[pair] = (1.0 * p[pair / 3]) * p[pair % 3];

    std::vector<Candidate> storage;
    storage.reserve(kQ16Entries * (kNumPairs - 1));
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> open(std::greater<>(),
                                                                                std::move(storage));
    const auto extend = [&](const Candidate& from, std::int32_t node) {
      for (std::uint64_t pair = 0; pair < kNumPairs; ++pair)
        open.push({from.key * probability[pair],
                   from.sequence | (pair + 1) << (52 - 4 * from.pairs), node, from.pairs + 1});
    };
    extend({-1.0, 0, -1, 0}, static_cast<std::int32_t>(kQ16Entries));
    for (std::int32_t k = 0; k < kQ16Entries; ++k) {
      const Candidate best = open.top();
      open.pop();
      entries[static_cast<std::size_t>(k)] = compact_entry(best);
      trie[static_cast<std::size_t>(best.parent) * kNumPairs + best.pair(best.pairs - 1)] = k;
      if (best.pairs < kQ16MostPairs) extend(best, k);
    }
  }
};

const Dictionary& dictionary() {
  static const Dictionary built;
  return built;
}

}  // namespace

const std::uint32_t* q16_entries() {
  return dictionary().entries.data();
}
const std::int32_t* q16_trie() {
  return dictionary().trie.data();
}

}  // namespace mote::kernels
