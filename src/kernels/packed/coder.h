// The coders: how matrices below 16 bits per weight are stored. One row each.
//
// A coder stores the symbols of one grid (packed/rounding): what encode() takes is what rounding
// made. Adding one is a folder with its stored form and products, and its row in coder.cpp; files,
// models, compression, the fuzzer and the tests walk this table. Those of block_rows/ read what
// others made, rows of GGUF's blocks, and encode nothing.
#pragma once

#include <span>
#include <string_view>

#include "base/parallel.h"
#include "kernels/packed/blocks/blocks.h"
#include "kernels/packed/packed_matrices.h"
#include "kernels/packed/product/product.h"
#include "kernels/packed/rounding/rounding.h"

namespace mote::kernels {

// A stored form that files of format_version 1 hold in another layout.
struct FirstForm {
  std::span<const PartSpec> parts;
  // The same matrices as they are stored now; `w` has `parts`, of the sizes that those say. Throws
  // a file error that names `name` where nothing valid can come of it.
  PackedStack (*convert)(const PackedMatrices& w, const std::string& name);
};

using Variants = std::span<const Variant<PackedProduct>>;

struct Coder {
  const char* name;     // in files: "q16"
  const char* storage;  // for people: "ternary q16"
  Grid grid;            // whose symbols it stores
  std::span<const PartSpec> parts;
  const FirstForm* first_form;  // null: unchanged since

  // Throws a file error that names `name`, the expert, the row and the two values that disagree
  // unless all that products rely on holds; then they check nothing. check_parts() comes before.
  void (*validate)(const PackedMatrices& w, const std::string& name, const Executor& executor);

  // Levels are rounded to what the form stores. Refuses symbols that the grid does not have.
  PackedStack (*encode)(View<const std::uint8_t, 3> symbols_ERC, View<const float, 3> levels_ER2,
                        const Executor& executor);

  // The values of one row, `columns` floats.
  void (*decode_row)(const PackedMatrices& w, Index expert, Index row, float* values);

  // The variants of product/product.h; null where there is no such product.
  Variants (*product)();
  Variants (*product_int8)();
  Variants (*product_to_input)();

  // Whose blocks rows are made of; null: of none.
  const BlockType* (*blocks)() = nullptr;
};

// Those that encode.
std::span<const Coder* const> coders();
// Of all of them; null for a name that none has.
const Coder* find_coder(std::string_view name);
// The coder that stores a grid where nothing else was asked for.
const Coder& coder_of(Grid grid);

// check_parts() and the coder's own: what passes can be used without further checks.
void validate(const PackedMatrices& w, const std::string& name,
              const Executor& executor = serial());

}  // namespace mote::kernels
