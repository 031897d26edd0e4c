#include "kernels/packed/block_rows/block_rows.h"

#include "base/check.h"

namespace mote::kernels {
namespace {

template <Index kElements, Index kBytes>
constexpr PartSpec kParts[] = {
    {"blocks", PartType::u8, [](const StackShape& s) {
       return std::vector{s.experts, s.rows, s.columns / kElements * kBytes};
     }}};

void check_columns(const PackedMatrices& w, const std::string& name, const Executor&) {
  const Index elements = w.coder->blocks()->elements;
  if (w.shape.columns % elements != 0)
    throw Error(ErrorKind::file, concat(w.coder->name, " matrix '", name, "' has ", w.shape.columns,
                                        " columns, which come in blocks of ", elements))
        .at(name);
}

void decode_row(const PackedMatrices& w, Index expert, Index row, float* values) {
  const BlockType& type = *w.coder->blocks();
  const Index count = w.shape.columns / type.elements;
  type.decode(w.part<std::byte>(0) + (expert * w.shape.rows + row) * count * type.bytes, count,
              values);
}

template <std::uint32_t kId>
const BlockType* type_of() {
  static const BlockType* const type = find_block_type(kId);
  return type;
}

template <std::uint32_t kId, Index kElements, Index kBytes>
constexpr Coder block_coder(const char* name) {
  return {.name = name,
          .storage = name,
          .grid = {},
          .parts = kParts<kElements, kBytes>,
          .first_form = nullptr,
          .validate = check_columns,
          .encode = nullptr,
          .decode_row = decode_row,
          .product = block_rows_product_variants,
          .product_int8 = block_rows_int8_variants,
          .product_to_input = block_rows_to_input_variants,
          .blocks = type_of<kId>};
}

constinit const Coder kEach[] = {
    block_coder<2, 32, 18>("Q4_0"),    block_coder<3, 32, 20>("Q4_1"),
    block_coder<6, 32, 22>("Q5_0"),    block_coder<7, 32, 24>("Q5_1"),
    block_coder<8, 32, 34>("Q8_0"),    block_coder<10, 256, 84>("Q2_K"),
    block_coder<11, 256, 110>("Q3_K"), block_coder<12, 256, 144>("Q4_K"),
    block_coder<13, 256, 176>("Q5_K"), block_coder<14, 256, 210>("Q6_K"),
    block_coder<34, 256, 54>("TQ1_0"), block_coder<35, 256, 66>("TQ2_0"),
    block_coder<39, 32, 17>("MXFP4")};

constexpr const Coder* kCoders[] = {&kEach[0],  &kEach[1],  &kEach[2], &kEach[3], &kEach[4],
                                    &kEach[5],  &kEach[6],  &kEach[7], &kEach[8], &kEach[9],
                                    &kEach[10], &kEach[11], &kEach[12]};

}  // namespace

std::span<const Coder* const> block_coders() {
  return kCoders;
}

}  // namespace mote::kernels
