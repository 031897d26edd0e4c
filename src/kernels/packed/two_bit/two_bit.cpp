#include "kernels/packed/two_bit/two_bit.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace mote::kernels {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::file, concat("two-bit matrix '", name, "': ", what)).at(name);
}

void check_row(const TwoBitMatrix& m, Index row, const std::string& name, Index expert) {
  const auto refuse_row = [&](const std::string& what) {
    refuse(name, concat("expert ", expert, " row ", row, what));
  };
  const float scale = from_bf16(m.scales_R[row]);
  if (!std::isfinite(scale)) refuse_row(concat(" has the scale ", scale));
  if (m.zeros_R[row] > 3)
    refuse_row(concat(" has the zero ", int{m.zeros_R[row]}, ", codes go to 3"));
  const Index used = m.columns % kTwoBitPerByte;
  if (used == 0) return;
  const int last = m.row(row)[two_bit_bytes(m.columns) - 1];
  if (last >> 2 * used != 0)
    refuse_row(concat(" has weights after its last column ", m.columns - 1));
}

}  // namespace

void validate(const TwoBitExperts& w, const std::string& name, const Executor& executor) {
  const auto agree = [&](const char* part, Index found, Index wanted) {
    if (found != wanted) refuse(name, concat(part, " is ", found, ", expected ", wanted));
  };
  if (w.columns < 0) refuse(name, concat("has ", w.columns, " columns"));
  agree("the number of experts in codes", w.codes_ERB.size(0), w.experts());
  agree("the number of rows in codes", w.codes_ERB.size(1), w.rows());
  agree("the number of bytes per row", w.codes_ERB.size(2), two_bit_bytes(w.columns));
  agree("the number of experts in zeros", w.zeros_ER.size(0), w.experts());
  agree("the number of rows in zeros", w.zeros_ER.size(1), w.rows());
  parallel_for(executor, w.experts(), [&](Index e, int) {
    for (Index row = 0; row < w.rows(); ++row) check_row(w.expert(e), row, name, e);
  });
}

std::uint64_t num_bits(const TwoBitExperts& w) {
  const auto rows = static_cast<std::uint64_t>(w.experts() * w.rows());
  return rows * (8 * static_cast<std::uint64_t>(two_bit_bytes(w.columns)) + 16 + 8);
}

void two_bit_pack_row(const std::uint8_t* codes, Index columns, std::uint8_t* bytes) {
  std::fill_n(bytes, two_bit_bytes(columns), std::uint8_t{0});
  for (Index c = 0; c < columns; ++c) {
    MOTE_CHECK(codes[c] <= 3, "two_bit_pack_row: column ", c, " holds ", int{codes[c]},
               ", two bits hold 0 to 3");
    const int placed = codes[c] << 2 * (c % kTwoBitPerByte);
    bytes[c / kTwoBitPerByte] = static_cast<std::uint8_t>(bytes[c / kTwoBitPerByte] | placed);
  }
}

void two_bit_unpack_row(const std::uint8_t* bytes, Index columns, std::uint8_t* codes) {
  for (Index c = 0; c < columns; ++c)
    codes[c] = bytes[c / kTwoBitPerByte] >> 2 * (c % kTwoBitPerByte) & 3;
}

}  // namespace mote::kernels
