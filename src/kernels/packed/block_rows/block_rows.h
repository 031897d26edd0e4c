// Matrices whose rows are blocks of one of GGUF's types (blocks/blocks.h), as files of GGUF hold
// them: stacks [E, rows, columns], columns a multiple of the block's elements.
//   blocks  u8 [E, rows, bytes of a row], at any address
// Any bytes are a matrix; a scale may be infinite or NaN, and so are its products.
//
// Products with 8-bit activations round x in groups of 32 columns, each with a scale of its own, and
// the residuals of the coarsest groups again (product/int8_rows.h).
#pragma once

#include "kernels/packed/coder.h"

namespace mote::kernels {

// A coder for each type but F32, F16 and BF16, called as the type is. They encode nothing.
std::span<const Coder* const> block_coders();

// The rows of the coders' tables (block_rows_product.cpp).
Variants block_rows_product_variants();
Variants block_rows_int8_variants();
Variants block_rows_to_input_variants();

}  // namespace mote::kernels
