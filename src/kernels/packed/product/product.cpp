#include "kernels/packed/product/product.h"

#include "base/check.h"
#include "kernels/packed/coder.h"
#include "kernels/packed/product/sorted_rows.h"

namespace mote::kernels {

void packed_product(const PackedProduct& args, const Run& run) {
  const StackShape& s = args.w.shape;
  check_sorted_product("packed_product", s.experts, s.rows, s.columns, args.ends_E, args.x, args.y);
  select(args.w.coder->product(), run).call(args, run);
}

void packed_product_int8(const PackedProduct& args, const Run& run) {
  const StackShape& s = args.w.shape;
  check_sorted_product("packed_product_int8", s.experts, s.rows, s.columns, args.ends_E, args.x,
                       args.y);
  MOTE_CHECK(args.w.coder->product_int8 != nullptr, "packed_product_int8: ", args.w.coder->name,
             " has no product with 8-bit activations");
  MOTE_CHECK(s.columns <= kMostInt8Columns, "packed_product_int8: ", s.columns,
             " columns, sums are exact up to ", kMostInt8Columns);
  select(args.w.coder->product_int8(), run).call(args, run);
}

void packed_product_to_input(const PackedProduct& args, const Run& run) {
  const StackShape& s = args.w.shape;
  check_sorted_product("packed_product_to_input", s.experts, s.columns, s.rows, args.ends_E, args.x,
                       args.y);
  select(args.w.coder->product_to_input(), run).call(args, run);
}

}  // namespace mote::kernels
