#include "kernels/packed/product/int8_panels_amx.h"
#include "kernels/packed/q16/q16_block.h"

namespace mote::kernels {
namespace {

constexpr Index kPlaneTail = 32 * kTileRows, kPlaneStride = kDepth * kTileRows + kPlaneTail;

// Where the weight of a slot goes, from a codeword's first column on, by the slot's byte and whether
// that column is the first or the third of four: trit 2 to the first plane, 1 to the second.
struct SlotPlaces {
  std::uint32_t of[2][128];
};
constexpr SlotPlaces make_slot_places() {
  SlotPlaces made{};
  for (unsigned third = 0; third < 2; ++third)
    for (unsigned byte = 0; byte < 128; ++byte) {
      const unsigned column = byte / 4 + 2 * third, plane = 2 - byte % 4 % 3;
      made.of[third][byte] =
          plane * static_cast<unsigned>(kPlaneStride) + column / 4 * 64 + column % 4;
    }
  return made;
}
constexpr SlotPlaces kSlotPlaces = make_slot_places();

// One plane has a 1 where a weight is the row's maximum, one where it is its minimum; a third takes
// what slots without a weight write. A codeword may reach beyond the columns that are filled: each
// plane has a tail, from where its last weights go to the next columns.
struct Q16Panels {
  using Matrix = Q16Matrix;
  static constexpr int kPlanes = 2;
  static constexpr Index kTail = kPlaneTail, kStride = kPlaneStride, kRoom = 3 * kStride;

  struct Place {
    const std::uint16_t *codes[kTileRows], *ends[kTileRows];
    Index columns[kTileRows];  // where the next codewords begin
    Index rows;
  };
  [[gnu::always_inline]] static Place start(const Q16Matrix& w, Index panel) {
    const Index first = panel * kTileRows;
    Place place;
    place.rows = w.rows - first < kTileRows ? w.rows - first : kTileRows;
    for (Index r = 0; r < place.rows; ++r) {
      place.codes[r] = w.codes + w.row_begin(first + r);
      place.ends[r] = w.codes + w.row_end(first + r);
      place.columns[r] = 0;
    }
    return place;
  }
  [[gnu::always_inline]] static void clear(std::uint8_t* plane, bool keep_tail) {
    for (Index at = 0; at < kTail; at += 64)
      _mm512_storeu_si512(plane + at, keep_tail ? _mm512_loadu_si512(plane + kStride - kTail + at)
                                                : _mm512_setzero_si512());
    for (Index at = kTail; at < kStride; at += 64)
      _mm512_storeu_si512(plane + at, _mm512_setzero_si512());
  }
  [[gnu::always_inline]] static void fill(const Q16Matrix& w, Place& place, Index column,
                                          std::uint8_t* planes) {
    clear(planes, column > 0);
    clear(planes + kStride, column > 0);
    const std::uint32_t* entries = w.entries;
    for (Index r = 0; r < place.rows; ++r) {
      const std::uint16_t *code = place.codes[r], *end = place.ends[r];
      auto next = static_cast<std::uint64_t>(place.columns[r] - column);
      std::uint8_t* row = planes + 4 * r;
      for (; code < end && next < kDepth; ++code) {
        std::uint64_t entry = entries[*code];
        std::uint8_t* at = row + next / 4 * 64;
        const std::uint32_t* places = kSlotPlaces.of[next / 2 % 2];
        at[places[entry & 0xff]] = 1;
        at[places[entry >> 8 & 0xff]] = 1;
        entry >>= 16;
        at[places[entry & 0xff]] = 1;
        next += entry >> 8;
      }
      place.codes[r] = code;
      place.columns[r] = static_cast<Index>(next) + column;
    }
  }
  struct Levels {
    __m512 minimum, maximum;
  };
  [[gnu::always_inline]] static Levels levels(const Q16Block& block, Index panel) {
    const Index row = panel * kTileRows;
    const __m512i both =
        _mm512_maskz_loadu_epi32(Avx512::mask(block.w.rows - row), block.w.levels + 2 * row);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(-65536)))};
  }
  [[gnu::always_inline]] static void finish(const Q16Block& block, const Levels& levels, Index row,
                                            Index token, const __m512i (&sums)[2]) {
    const __m512 above = _mm512_mul_ps(levels.maximum, _mm512_cvtepi32_ps(sums[0]));
    const __m512 y = _mm512_fmadd_ps(levels.minimum, _mm512_cvtepi32_ps(sums[1]), above);
    const __m512 scale = Avx512::set(int8_row(block.layout, block.w.columns, token).scale);
    Avx512::store(block.y.row(token) + row, Avx512::mul(scale, y), block.first + block.count - row);
  }
};

}  // namespace

void q16_lay_out_int8_amx(const Q16Layout& to) {
  const Index tokens = to.x.size(0), bytes = int8_row_bytes(to.w.columns);
  if (tokens < kQ16LeastTokensForTiles) return q16_lay_out_int8_avx512(to);
  for (Index t = 0; t < tokens; ++t)
    round_to_int8<Int8Avx512>(to.x.row(t), to.w.columns, to.layout + t * bytes);
}

void q16_block_int8_amx(const Q16Block& block) {
  if (block.x.size(0) < kQ16LeastTokensForTiles) return q16_block_int8_avx512(block);
  int8_panels_block<Q16Panels>(block);
}

}  // namespace mote::kernels
