#include "kernels/packed/q16/q16.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <queue>

#include "base/check.h"

namespace mote::kernels {
namespace {

constexpr Index kRoot = kQ16Entries;
constexpr int kNumPairs = 9;  // two trits, first + 3 * second

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
  std::uint32_t entry = static_cast<std::uint32_t>(is.pairs) << 24;
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
    extend({-1.0, 0, -1, 0}, static_cast<std::int32_t>(kRoot));
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

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::file, concat("q16 matrix '", name, "': ", what)).at(name);
}

void check_sizes(const Q16Experts& w, const std::string& name) {
  const auto agree = [&](const char* part, Index found, Index wanted) {
    if (found != wanted) refuse(name, concat(part, " is ", found, ", expected ", wanted));
  };
  if (w.columns < 0 || w.columns > kQ16MostColumns)
    refuse(name, concat("has ", w.columns, " columns, at most ", kQ16MostColumns, " are possible"));
  if (w.rows() > kQ16MostRows)
    refuse(name, concat("has ", w.rows(), " rows, at most ", kQ16MostRows, " are possible"));
  agree("the length of offsets", w.offsets_E1.size(0), w.experts() + 1);
  agree("the number of experts in row_base", w.row_base_EG.size(0), w.experts());
  agree("the number of groups in row_base", w.row_base_EG.size(1),
        q16_num_groups(w.rows(), w.columns));
  agree("the number of experts in levels", w.levels_ER2.size(0), w.experts());
  agree("the number of rows in levels", w.levels_ER2.size(1), w.rows());
  agree("the number of levels per row", w.levels_ER2.size(2), 2);
}

void check_offsets(const Q16Experts& w, const std::string& name) {
  const auto num_codes = static_cast<std::uint64_t>(w.codes_N.size(0));
  if (w.offsets_E1(0) != 0) refuse(name, concat("offsets start at ", w.offsets_E1(0), ", not 0"));
  for (Index e = 0; e < w.experts(); ++e) {
    const std::uint64_t begin = w.offsets_E1(e), end = w.offsets_E1(e + 1);
    if (begin > end || end > num_codes)
      refuse(name, concat("expert ", e, " has codes ", begin, " to ", end, " of ", num_codes));
    if (end - begin > std::numeric_limits<std::uint32_t>::max())
      refuse(name, concat("expert ", e, " has ", end - begin, " codes, row_base counts to 2^32"));
  }
  if (w.offsets_E1(w.experts()) != num_codes)
    refuse(name, concat("offsets end at ", w.offsets_E1(w.experts()), ", there are ", num_codes,
                        " codes"));
}

bool last_trit_is_zero(std::uint32_t entry) {
  const std::uint32_t last = static_cast<std::uint32_t>(2 * q16_pairs(entry)) - 1;
  for (int slot = 0; slot < 3; ++slot, entry >>= 8)
    if ((entry & 3) != 0 && (entry & 0xff) >> 2 == last) return false;
  return true;
}

void check_row(const Q16Matrix& m, Index row, const std::string& name, Index expert) {
  const auto refuse_row = [&](const std::string& what) {
    refuse(name, concat("expert ", expert, " row ", row, what));
  };
  const Index begin = m.row_begin(row), end = m.row_end(row), wanted = (m.columns + 1) / 2;
  if ((row == 0 && begin != 0) || begin > end || end > m.num_codes)
    refuse_row(concat(" has codes ", begin, " to ", end, " of ", m.num_codes));
  const std::uint32_t* entries = q16_entries();
  Index pairs = 0;
  for (Index i = begin; i < end; ++i) pairs += q16_pairs(entries[m.codes[i]]);
  if (pairs != wanted)
    refuse_row(concat(" decodes to ", pairs, " pairs, ", m.columns, " columns need ", wanted));
  if (m.columns % 2 != 0 && !last_trit_is_zero(entries[m.codes[end - 1]]))
    refuse_row(concat(" has a weight after its last column ", m.columns - 1));
  const float low = m.minimum(row), high = m.maximum(row);
  if (!(std::isfinite(low) && std::isfinite(high) && low <= 0 && high >= 0))
    refuse_row(concat(" has levels ", low, " and ", high,
                      "; finite ones with minimum <= 0 <= maximum are possible"));
}

}  // namespace

const std::uint32_t* q16_entries() {
  return dictionary().entries.data();
}
const std::int32_t* q16_trie() {
  return dictionary().trie.data();
}

void validate(const Q16Experts& w, const std::string& name, const Executor& executor) {
  check_sizes(w, name);
  check_offsets(w, name);
  if (w.rows() == 0 && w.codes_N.size(0) != 0)
    refuse(name, concat("has no rows and ", w.codes_N.size(0), " codes"));
  parallel_for(executor, w.experts(), [&](Index e, int) {
    const Q16Matrix m = w.expert(e);
    for (Index row = 0; row < m.rows; ++row) check_row(m, row, name, e);
  });
}

std::uint64_t num_bits(const Q16Experts& w) {
  const auto experts = static_cast<std::uint64_t>(w.experts());
  const auto rows = static_cast<std::uint64_t>(w.rows());
  const auto groups = static_cast<std::uint64_t>(w.row_base_EG.size(1));
  const auto codes = static_cast<std::uint64_t>(w.codes_N.size(0));
  return 16 * codes + 64 * (experts + 1) + experts * (32 * groups + (16 + 2 * 16) * rows);
}

Index q16_encode_row(const std::uint8_t* trits, Index columns, std::uint16_t* codes) {
  const std::int32_t* children = q16_trie();
  Index count = 0;
  std::int32_t node = static_cast<std::int32_t>(kRoot);
  for (Index c = 0; c < columns; c += 2) {
    const int pair = trits[c] + (c + 1 < columns ? 3 * trits[c + 1] : 0);
    std::int32_t next = children[kNumPairs * Index{node} + pair];
    if (next < 0) {
      codes[count++] = static_cast<std::uint16_t>(node);
      next = children[kNumPairs * kRoot + pair];
    }
    node = next;
  }
  if (columns > 0) codes[count++] = static_cast<std::uint16_t>(node);
  return count;
}

void q16_decode_row(const Q16Matrix& w, Index row, std::uint8_t* trits) {
  const std::uint32_t* entries = q16_entries();
  std::fill_n(trits, w.columns, std::uint8_t{0});
  Index base = 0;
  for (Index i = w.row_begin(row); i < w.row_end(row); ++i) {
    const std::uint32_t entry = entries[w.codes[i]];
    for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8)
      trits[base + ((slots & 0xff) >> 2)] = static_cast<std::uint8_t>(slots & 3);
    base += 2 * q16_pairs(entry);
  }
}

Q16Experts Q16Encoded::view() const {
  return {columns,
          kernels::view(codes.data(), static_cast<Index>(codes.size())),
          kernels::view(offsets.data(), experts + 1),
          kernels::view(row_base.data(), experts, q16_num_groups(rows, columns)),
          kernels::view(row_start.data(), experts, rows),
          kernels::view(levels.data(), experts, rows, Index{2})};
}

Q16Encoded q16_encode(View<const std::uint8_t, 3> trits_ERC, View<const Bf16, 3> levels_ER2,
                      const Executor& executor) {
  const Index experts = trits_ERC.size(0), rows = trits_ERC.size(1), columns = trits_ERC.size(2);
  MOTE_CHECK(levels_ER2.size(0) == experts && levels_ER2.size(1) == rows && levels_ER2.size(2) == 2,
             "q16_encode: trits are for ", experts, " x ", rows, " rows, levels for ",
             levels_ER2.size(0), " x ", levels_ER2.size(1), " with ", levels_ER2.size(2), " each");
  MOTE_CHECK(columns <= kQ16MostColumns && rows <= kQ16MostRows, "q16_encode: ", rows, " x ",
             columns, " is beyond the format's limit of ", kQ16MostRows, " x ", kQ16MostColumns);
  const Index most = (columns + 1) / 2, total = experts * rows;
  Q16Encoded made{columns, experts, rows, {}, {}, {}, {}, {}};

  // A row's codewords are made in a buffer of the row's thread and counted; a second pass, when
  // all places are known, makes them again where they belong.
  const auto workers = static_cast<std::size_t>(executor.threads());
  std::vector<std::uint16_t> buffer(workers * static_cast<std::size_t>(most));
  std::vector<std::uint8_t> row_trits(workers * static_cast<std::size_t>(columns));
  std::vector<Index> lengths(static_cast<std::size_t>(total));
  made.levels.resize(static_cast<std::size_t>(2 * total));
  const auto encode = [&](Index at, int worker, std::uint16_t* codes) {
    const Index e = at / rows, row = at % rows;
    std::uint8_t* trits = row_trits.data() + worker * columns;
    const Bf16 low = levels_ER2(e, row, 0), high = levels_ER2(e, row, 1);
    made.levels[static_cast<std::size_t>(2 * at)] = low;
    made.levels[static_cast<std::size_t>(2 * at + 1)] = high;
    const std::uint8_t kept[3] = {0, from_bf16(low) != 0 ? std::uint8_t{1} : std::uint8_t{0},
                                  from_bf16(high) != 0 ? std::uint8_t{2} : std::uint8_t{0}};
    for (Index c = 0; c < columns; ++c) {
      const std::uint8_t trit = trits_ERC(e, row, c);
      MOTE_CHECK(trit <= 2, "q16_encode: expert ", e, " row ", row, " column ", c, " holds ",
                 int{trit}, ", trits are 0, 1, 2");
      trits[c] = kept[trit];
    }
    return q16_encode_row(trits, columns, codes);
  };
  parallel_for(executor, total, [&](Index at, int worker) {
    lengths[static_cast<std::size_t>(at)] = encode(at, worker, buffer.data() + worker * most);
  });

  const Index group = q16_group_rows(columns);
  std::vector<Index> places(static_cast<std::size_t>(total));
  Index place = 0;
  made.offsets.push_back(0);
  for (Index e = 0; e < experts; ++e) {
    const Index expert_begin = place;
    for (Index row = 0; row < rows; ++row) {
      const Index within = place - expert_begin;
      if (row % group == 0) made.row_base.push_back(static_cast<std::uint32_t>(within));
      made.row_start.push_back(static_cast<std::uint16_t>(within - made.row_base.back()));
      places[static_cast<std::size_t>(e * rows + row)] = place;
      place += lengths[static_cast<std::size_t>(e * rows + row)];
    }
    MOTE_CHECK(place - expert_begin <= std::numeric_limits<std::uint32_t>::max(),
               "q16_encode: expert ", e, " takes ", place - expert_begin,
               " codewords, the format allows 2^32 - 1");
    made.offsets.push_back(static_cast<std::uint64_t>(place));
  }
  made.codes.resize(static_cast<std::size_t>(place));
  parallel_for(executor, total, [&](Index at, int worker) {
    encode(at, worker, made.codes.data() + places[static_cast<std::size_t>(at)]);
  });
  return made;
}

}  // namespace mote::kernels
