#include "kernels/packed/q16/q16.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace mote::kernels {
namespace {

constexpr PartSpec kParts[] = {
    {"codes", PartType::u16, [](const StackShape&) { return std::vector<Index>{kAnyLength}; }},
    {"offsets", PartType::u64, [](const StackShape& s) { return std::vector{s.experts + 1}; }},
    {"row_base", PartType::u32,
     [](const StackShape& s) {
       return std::vector{s.experts, q16_num_groups(s.rows, s.columns)};
     }},
    {"row_start", PartType::u16,
     [](const StackShape& s) {
       return std::vector{s.experts, s.rows};
     }},
    {"levels", PartType::bf16, [](const StackShape& s) {
       return std::vector{s.experts, s.rows, Index{2}};
     }}};

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::file, concat("q16 matrix '", name, "': ", what)).at(name);
}

void check_offsets(const PackedMatrices& w, const std::string& name) {
  const auto* offsets = w.part<std::uint64_t>(kQ16Offsets);
  const auto num_codes = static_cast<std::uint64_t>(w.parts[kQ16Codes].count);
  if (offsets[0] != 0) refuse(name, concat("offsets start at ", offsets[0], ", not 0"));
  for (Index e = 0; e < w.shape.experts; ++e) {
    const std::uint64_t begin = offsets[e], end = offsets[e + 1];
    if (begin > end || end > num_codes)
      refuse(name, concat("expert ", e, " has codes ", begin, " to ", end, " of ", num_codes));
    if (end - begin > std::numeric_limits<std::uint32_t>::max())
      refuse(name, concat("expert ", e, " has ", end - begin, " codes, row_base counts to 2^32"));
  }
  if (offsets[w.shape.experts] != num_codes)
    refuse(name, concat("offsets end at ", offsets[w.shape.experts], ", there are ", num_codes,
                        " codes"));
}

bool last_trit_is_zero(std::uint32_t entry) {
  const std::uint32_t last = static_cast<std::uint32_t>(q16_width(entry)) - 1;
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
  Index width = 0;
  for (Index i = begin; i < end; ++i) width += q16_width(entries[m.codes[i]]);
  if (width != 2 * wanted)
    refuse_row(concat(" decodes to ", width / 2, " pairs, ", m.columns, " columns need ", wanted));
  if (m.columns % 2 != 0 && !last_trit_is_zero(entries[m.codes[end - 1]]))
    refuse_row(concat(" has a weight after its last column ", m.columns - 1));
  const float low = m.minimum(row), high = m.maximum(row);
  if (!(std::isfinite(low) && std::isfinite(high) && low <= 0 && high >= 0))
    refuse_row(concat(" has levels ", low, " and ", high,
                      "; finite ones with minimum <= 0 <= maximum are possible"));
}

void validate_q16(const PackedMatrices& w, const std::string& name, const Executor& executor) {
  check_offsets(w, name);
  if (w.shape.rows == 0 && w.parts[kQ16Codes].count != 0)
    refuse(name, concat("has no rows and ", w.parts[kQ16Codes].count, " codes"));
  parallel_for(executor, w.shape.experts, [&](Index e, int) {
    const Q16Matrix m = q16_expert(w, e);
    for (Index row = 0; row < m.rows; ++row) check_row(m, row, name, e);
  });
}

// Rows as trits that need no level of 0, then as codewords.
struct RowEncoder {
  View<const std::uint8_t, 3> symbols_ERC;
  View<const float, 3> levels_ER2;

  Index encode(Index at, std::uint8_t* trits, std::uint16_t* codes) const {
    const Index rows = symbols_ERC.size(1), columns = symbols_ERC.size(2), e = at / rows,
                row = at % rows;
    const auto kept = [&](Index i) { return from_bf16(to_bf16(levels_ER2(e, row, i))) != 0; };
    const std::uint8_t stored[3] = {0, kept(0) ? std::uint8_t{1} : std::uint8_t{0},
                                    kept(1) ? std::uint8_t{2} : std::uint8_t{0}};
    for (Index c = 0; c < columns; ++c) {
      const std::uint8_t trit = symbols_ERC(e, row, c);
      MOTE_CHECK(trit <= 2, "q16: expert ", e, " row ", row, " column ", c, " holds ", int{trit},
                 ", trits are 0, 1, 2");
      trits[c] = stored[trit];
    }
    return q16_encode_row(trits, columns, codes);
  }
};

// A row's codewords are made in a buffer of the row's thread and counted; a second pass, when all
// places are known, makes them again where they belong.
PackedStack encode(View<const std::uint8_t, 3> symbols_ERC, View<const float, 3> levels_ER2,
                   const Executor& executor) {
  const StackShape s{symbols_ERC.size(0), symbols_ERC.size(1), symbols_ERC.size(2)};
  const Index most = (s.columns + 1) / 2, total = s.experts * s.rows;
  const RowEncoder rows{symbols_ERC, levels_ER2};
  const auto workers = static_cast<std::size_t>(executor.threads());
  std::vector<std::uint16_t> buffer(workers * static_cast<std::size_t>(most));
  std::vector<std::uint8_t> trits(workers * static_cast<std::size_t>(s.columns));
  std::vector<Index> places(static_cast<std::size_t>(total) + 1);
  parallel_for(executor, total, [&](Index at, int worker) {
    places[static_cast<std::size_t>(at) + 1] =
        rows.encode(at, trits.data() + worker * s.columns, buffer.data() + worker * most);
  });
  for (std::size_t i = 1; i < places.size(); ++i) places[i] += places[i - 1];

  PackedStack made(kQ16, s, places.back());
  const Index group = q16_group_rows(s.columns), groups = q16_num_groups(s.rows, s.columns);
  auto* offsets = made.part<std::uint64_t>(kQ16Offsets);
  for (Index e = 0; e < s.experts; ++e) {
    const Index* place = places.data() + e * s.rows;
    MOTE_CHECK(place[s.rows] - place[0] <= std::numeric_limits<std::uint32_t>::max(),
               "q16: expert ", e, " takes ", place[s.rows] - place[0],
               " codewords, the format allows 2^32 - 1");
    offsets[e + 1] = static_cast<std::uint64_t>(place[s.rows]);
    for (Index row = 0; row < s.rows; ++row) {
      const Index base = place[row / group * group];
      made.part<std::uint32_t>(kQ16RowBase)[e * groups + row / group] =
          static_cast<std::uint32_t>(base - place[0]);
      made.part<std::uint16_t>(kQ16RowStart)[e * s.rows + row] =
          static_cast<std::uint16_t>(place[row] - base);
      for (Index i = 0; i < 2; ++i)
        made.part<Bf16>(kQ16Levels)[2 * (e * s.rows + row) + i] = to_bf16(levels_ER2(e, row, i));
    }
  }
  parallel_for(executor, total, [&](Index at, int worker) {
    rows.encode(at, trits.data() + worker * s.columns,
                made.part<std::uint16_t>(kQ16Codes) + places[static_cast<std::size_t>(at)]);
  });
  return made;
}

void decode_row(const PackedMatrices& w, Index expert, Index row, float* values) {
  const Q16Matrix m = q16_expert(w, expert);
  const float levels[] = {0, m.minimum(row), m.maximum(row)};
  std::fill_n(values, m.columns, 0.0f);
  q16_for_each_trit(m, row,
                    [&](Index column, std::uint32_t trit) { values[column] = levels[trit]; });
}

}  // namespace

Q16Matrix q16_expert(const PackedMatrices& w, Index e) {
  const StackShape& s = w.shape;
  const auto* offsets = w.part<std::uint64_t>(kQ16Offsets);
  const Index begin = static_cast<Index>(offsets[e]);
  return {s.rows,
          s.columns,
          static_cast<Index>(offsets[e + 1]) - begin,
          q16_group_shift(s.columns),
          w.part<std::uint16_t>(kQ16Codes) + begin,
          w.part<std::uint32_t>(kQ16RowBase) + e * q16_num_groups(s.rows, s.columns),
          w.part<std::uint16_t>(kQ16RowStart) + e * s.rows,
          w.part<Bf16>(kQ16Levels) + 2 * e * s.rows,
          q16_entries()};
}

Index q16_encode_row(const std::uint8_t* trits, Index columns, std::uint16_t* codes) {
  const std::int32_t* children = q16_trie();
  constexpr auto kRoot = static_cast<std::int32_t>(kQ16Entries);
  Index count = 0;
  std::int32_t node = kRoot;
  for (Index c = 0; c < columns; c += 2) {
    const int pair = trits[c] + (c + 1 < columns ? 3 * trits[c + 1] : 0);
    std::int32_t next = children[kQ16Pairs * node + pair];
    if (next < 0) {
      codes[count++] = static_cast<std::uint16_t>(node);
      next = children[kQ16Pairs * kRoot + pair];
    }
    node = next;
  }
  if (columns > 0) codes[count++] = static_cast<std::uint16_t>(node);
  return count;
}

void q16_decode_row(const Q16Matrix& w, Index row, std::uint8_t* trits) {
  std::fill_n(trits, w.columns, std::uint8_t{0});
  q16_for_each_trit(w, row, [&](Index column, std::uint32_t trit) {
    trits[column] = static_cast<std::uint8_t>(trit);
  });
}

constinit const Coder kQ16 = {
    .name = "q16",
    .storage = "ternary q16",
    .grid = Grid::ternary,
    .parts = kParts,
    .first_form = nullptr,
    .validate = validate_q16,
    .encode = encode,
    .decode_row = decode_row,
    .product = q16_product_variants,
    .product_int8 = q16_int8_variants,
    .product_to_input = q16_to_input_variants,
};

}  // namespace mote::kernels
