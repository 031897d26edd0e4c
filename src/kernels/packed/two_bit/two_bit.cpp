#include "kernels/packed/two_bit/two_bit.h"

#include <cmath>

#include "base/check.h"

namespace mote::kernels {
namespace {

enum Part : std::size_t { kCodes, kScales, kZeros };

std::vector<Index> per_row(const StackShape& s) {
  return {s.experts, s.rows};
}
constexpr PartSpec kParts[] = {{"codes", PartType::u8,
                                [](const StackShape& s) {
                                  return std::vector<Index>{s.experts, two_bit_tiles(s.rows),
                                                            two_bit_tiles(s.columns), kTwoBitTile};
                                }},
                               {"scales", PartType::bf16, per_row},
                               {"zeros", PartType::u8, per_row}};

// Puts a code, which must be 0 before.
void set_code(std::uint8_t* codes, Index columns, Index row, Index column, int code) {
  const Index tile = row / kTwoBitSide * two_bit_tiles(columns) + column / kTwoBitSide;
  std::uint8_t& byte = codes[tile * kTwoBitTile + 4 * (row % kTwoBitSide) + column % 4];
  byte = static_cast<std::uint8_t>(byte | code << 2 * (column / 4 % 4));
}

Index expert_bytes(const StackShape& s) {
  return two_bit_tiles(s.rows) * two_bit_tiles(s.columns) * kTwoBitTile;
}

[[noreturn]] void refuse_row(const std::string& name, Index expert, Index row,
                             const std::string& what) {
  throw Error(ErrorKind::file,
              concat("two_bit matrix '", name, "': expert ", expert, " row ", row, what))
      .at(name);
}

void check_expert(const TwoBitMatrix& m, const std::string& name, Index expert) {
  for (Index row = 0; row < m.rows; ++row) {
    const float scale = from_bf16(m.scales_R[row]);
    if (!std::isfinite(scale)) refuse_row(name, expert, row, concat(" has the scale ", scale));
    if (m.zeros_R[row] > 3)
      refuse_row(name, expert, row,
                 concat(" has the zero ", int{m.zeros_R[row]}, ", codes go to 3"));
    for (Index c = m.columns; c % kTwoBitSide != 0; ++c)
      if (m.code(row, c) != 0)
        refuse_row(name, expert, row, concat(" has weights after its last column ", m.columns - 1));
  }
  for (Index row = m.rows; row % kTwoBitSide != 0; ++row)
    for (Index c = 0; c < two_bit_tiles(m.columns) * kTwoBitSide; ++c)
      if (m.code(row, c) != 0)
        refuse_row(name, expert, row, concat(" is beyond the last row ", m.rows - 1));
}

void validate_two_bit(const PackedMatrices& w, const std::string& name, const Executor& executor) {
  parallel_for(executor, w.shape.experts,
               [&](Index e, int) { check_expert(two_bit_expert(w, e), name, e); });
}

PackedStack encode(View<const std::uint8_t, 3> symbols_ERC, View<const float, 3> levels_ER2,
                   const Executor& executor) {
  const StackShape s{symbols_ERC.size(0), symbols_ERC.size(1), symbols_ERC.size(2)};
  PackedStack made(kTwoBit, s);
  parallel_for(executor, s.experts, [&](Index e, int) {
    std::uint8_t* codes = made.part<std::uint8_t>(kCodes) + e * expert_bytes(s);
    for (Index row = 0; row < s.rows; ++row) {
      const float zero = levels_ER2(e, row, 1);
      MOTE_CHECK(zero >= 0 && zero <= 3, "two_bit: expert ", e, " row ", row, " has the zero ",
                 zero, ", codes are 0 to 3");
      made.part<Bf16>(kScales)[e * s.rows + row] = to_bf16(levels_ER2(e, row, 0));
      made.part<std::uint8_t>(kZeros)[e * s.rows + row] = static_cast<std::uint8_t>(zero);
      for (Index c = 0; c < s.columns; ++c) {
        const int code = symbols_ERC(e, row, c);
        MOTE_CHECK(code <= 3, "two_bit: expert ", e, " row ", row, " column ", c, " holds ", code,
                   ", two bits hold 0 to 3");
        set_code(codes, s.columns, row, c, code);
      }
    }
  });
  return made;
}

void decode_row(const PackedMatrices& w, Index expert, Index row, float* values) {
  const TwoBitMatrix m = two_bit_expert(w, expert);
  for (Index c = 0; c < m.columns; ++c) values[c] = m.value(row, c);
}

constexpr PartSpec kFirstParts[] = {
    {"codes", PartType::u8,
     [](const StackShape& s) {
       return std::vector<Index>{s.experts, s.rows, (s.columns + 3) / 4};
     }},
    kParts[kScales],
    kParts[kZeros]};

PackedStack convert(const PackedMatrices& w, const std::string& name) {
  const StackShape& s = w.shape;
  const Index bytes = (s.columns + 3) / 4, used = s.columns % 4;
  PackedStack made(kTwoBit, s);
  std::copy_n(w.part<Bf16>(kScales), s.experts * s.rows, made.part<Bf16>(kScales));
  std::copy_n(w.part<std::uint8_t>(kZeros), s.experts * s.rows, made.part<std::uint8_t>(kZeros));
  for (Index at = 0; at < s.experts * s.rows; ++at) {
    const std::uint8_t* row = w.part<std::uint8_t>(kCodes) + at * bytes;
    std::uint8_t* codes = made.part<std::uint8_t>(kCodes) + at / s.rows * expert_bytes(s);
    for (Index c = 0; c < s.columns; ++c)
      set_code(codes, s.columns, at % s.rows, c, row[c / 4] >> 2 * (c % 4) & 3);
    if (used != 0 && row[bytes - 1] >> 2 * used != 0)
      refuse_row(name, at / s.rows, at % s.rows,
                 concat(" has weights after its last column ", s.columns - 1));
  }
  return made;
}

constexpr FirstForm kFirstForm{kFirstParts, convert};

}  // namespace

TwoBitMatrix two_bit_expert(const PackedMatrices& w, Index e) {
  const StackShape& s = w.shape;
  return {s.rows, s.columns, w.part<std::uint8_t>(kCodes) + e * expert_bytes(s),
          w.part<Bf16>(kScales) + e * s.rows, w.part<std::uint8_t>(kZeros) + e * s.rows};
}

constinit const Coder kTwoBit = {
    .name = "two_bit",
    .storage = "2-bit",
    .grid = Grid::two_bit,
    .parts = kParts,
    .first_form = &kFirstForm,
    .validate = validate_two_bit,
    .encode = encode,
    .decode_row = decode_row,
    .product = two_bit_product_variants,
    .product_int8 = two_bit_int8_variants,
    .product_to_input = two_bit_to_input_variants,
};

}  // namespace mote::kernels
