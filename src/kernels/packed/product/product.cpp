#include "kernels/packed/product/product.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/packed/coder.h"
#include "kernels/packed/product/sorted_rows.h"

namespace mote::kernels {
namespace {

// In steps of a fixed size, which the compiler turns into vectors.
bool all_finite(const float* x, Index count) {
  constexpr Index kStep = 16;
  // An exponent of ones and 1 carry into the sign.
  const auto marked = [](float value) {
    return (std::bit_cast<std::uint32_t>(value) & 0x7fffffff) + 0x00800000;
  };
  std::uint32_t marks[kStep] = {};
  Index i = 0;
  for (; i + kStep <= count; i += kStep)
    for (Index j = 0; j < kStep; ++j) marks[j] |= marked(x[i + j]);
  for (; i < count; ++i) marks[0] |= marked(x[i]);
  std::uint32_t any = 0;
  for (const std::uint32_t each : marks) any |= each;
  return any >> 31 == 0;
}

// Variants skip weights of 0 and round to 8 bits, so that they see zeros in the place of rows that
// are not finite.
void call_on_finite_rows(const Variant<PackedProduct>& variant, const PackedProduct& args,
                         const Run& run) {
  constexpr Index kRows = 32;
  const Index rows = args.x.size(0), columns = args.x.size(1);
  Scratch scratch;
  auto* finite = scratch.take<char>(rows);
  parallel_for(*run.executor, (rows + kRows - 1) / kRows, [&](Index i, int) {
    for (Index r = i * kRows; r < std::min(rows, (i + 1) * kRows); ++r)
      finite[r] = all_finite(args.x.row(r), columns);
  });
  if (std::find(finite, finite + rows, 0) == finite + rows) return variant.call(args, run);
  auto* x = scratch.take<float>(rows * columns);
  for (Index r = 0; r < rows; ++r)
    if (finite[r])
      std::copy_n(args.x.row(r), columns, x + r * columns);
    else
      std::fill_n(x + r * columns, columns, 0.0f);
  PackedProduct all_finite_args = args;
  all_finite_args.x = view<const float>(x, rows, columns);
  variant.call(all_finite_args, run);
  for (Index r = 0; r < rows; ++r)
    if (!finite[r])
      std::fill_n(args.y.row(r), args.y.size(1), std::numeric_limits<float>::quiet_NaN());
}

}  // namespace

void packed_product(const PackedProduct& args, const Run& run) {
  const StackShape& s = args.w.shape;
  check_sorted_product("packed_product", s.experts, s.rows, s.columns, args.ends_E, args.x, args.y);
  call_on_finite_rows(select(args.w.coder->product(), run), args, run);
}

void packed_product_int8(const PackedProduct& args, const Run& run) {
  const StackShape& s = args.w.shape;
  check_sorted_product("packed_product_int8", s.experts, s.rows, s.columns, args.ends_E, args.x,
                       args.y);
  MOTE_CHECK(args.w.coder->product_int8 != nullptr, "packed_product_int8: ", args.w.coder->name,
             " has no product with 8-bit activations");
  MOTE_CHECK(s.columns <= kMostInt8Columns, "packed_product_int8: ", s.columns,
             " columns, sums are exact up to ", kMostInt8Columns);
  call_on_finite_rows(select(args.w.coder->product_int8(), run), args, run);
}

void packed_product_to_input(const PackedProduct& args, const Run& run) {
  const StackShape& s = args.w.shape;
  check_sorted_product("packed_product_to_input", s.experts, s.columns, s.rows, args.ends_E, args.x,
                       args.y);
  call_on_finite_rows(select(args.w.coder->product_to_input(), run), args, run);
}

}  // namespace mote::kernels
