// Two-bit matrices on a grid per row: value = scale * (code - zero).
//
// Stored form of E stacked matrices [rows, columns]:
//   codes   u8 [E, rows, B]   B = ceil(columns / 4); column 4 b + i at bits 2 i of byte b, unused
//                             bits of a row's last byte are 0
//   scales  bf16 [E, rows]    finite
//   zeros   u8 [E, rows]      0..3, the code of the value 0
// That is 8 B + 24 bits per row.
#pragma once

#include <string>

#include "base/parallel.h"
#include "kernels/packed/two_bit/two_bit_matrix.h"

namespace mote::kernels {

// E stacked matrices. `columns` is not stored: it comes from the model's description.
struct TwoBitExperts {
  Index columns = 0;
  View<const std::uint8_t, 3> codes_ERB;
  View<const Bf16, 2> scales_ER;
  View<const std::uint8_t, 2> zeros_ER;

  [[gnu::always_inline]] Index experts() const { return scales_ER.size(0); }
  [[gnu::always_inline]] Index rows() const { return scales_ER.size(1); }
  [[gnu::always_inline]] TwoBitMatrix expert(Index e) const {
    return {rows(), columns, codes_ERB.data + e * codes_ERB.stride(0), scales_ER.row(e),
            zeros_ER.row(e)};
  }
};

// Throws a file error that names `name`, the part and the two values that disagree unless the
// shapes agree, zeros are 0..3, scales are finite and unused bits are 0.
void validate(const TwoBitExperts& w, const std::string& name, const Executor& executor = serial());

// Every bit of the stored form.
std::uint64_t num_bits(const TwoBitExperts& w);

// One row's codes 0..3 to and from its two_bit_bytes(columns) bytes. Refuses a code above 3.
void two_bit_pack_row(const std::uint8_t* codes, Index columns, std::uint8_t* bytes);
void two_bit_unpack_row(const std::uint8_t* bytes, Index columns, std::uint8_t* codes);

}  // namespace mote::kernels
