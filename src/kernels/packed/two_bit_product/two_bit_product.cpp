#include "kernels/packed/two_bit_product/two_bit_product.h"

#include <algorithm>

#include "kernels/packed/sorted_rows.h"
#include "kernels/packed/two_bit_product/two_bit_product_block.h"

namespace mote::kernels {
namespace {

double weight(const TwoBitMatrix& w, Index o, Index i) {
  return static_cast<double>(
      w.value(o, w.row(o)[i / kTwoBitPerByte] >> 2 * (i % kTwoBitPerByte) & 3));
}

void product_reference(const TwoBitProduct& args, const Run&) {
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const TwoBitMatrix w = args.w.expert(e);
    for (Index o = 0; o < w.rows; ++o) {
      double sum = 0;
      for (Index i = 0; i < w.columns; ++i)
        sum += weight(w, o, i) * static_cast<double>(args.x_RI(r, i));
      args.y_RO(r, o) = static_cast<float>(sum);
    }
  });
}

void to_input_reference(const TwoBitProductToInput& args, const Run&) {
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const TwoBitMatrix w = args.w.expert(e);
    for (Index i = 0; i < w.columns; ++i) {
      double sum = 0;
      for (Index o = 0; o < w.rows; ++o)
        sum += weight(w, o, i) * static_cast<double>(args.dy_RO(r, o));
      args.dx_RI(r, i) = static_cast<float>(sum);
    }
  });
}

// Calls body(chunk, first, count) for every chunk of rows and block of `size` outputs.
template <class Body>
void for_each_block(View<const std::int32_t, 1> ends_E, Index num_rows, Index outputs, Index size,
                    const Run& run, const Body& body) {
  const Index blocks = (outputs + size - 1) / size;
  parallel_for(*run.executor, num_rows * blocks, [&](Index item, int) {
    const RowChunk chunk = row_chunk_at(ends_E, item / blocks, kTwoBitChunkTokens);
    if (chunk.tokens == 0) return;
    const Index first = item % blocks * size;
    body(chunk, first, std::min(size, outputs - first));
  });
}

// Unused in a build without vector variants.
[[maybe_unused]] void product_in_blocks(const TwoBitProduct& args, const Run& run,
                                        void (*block)(const TwoBitBlock&)) {
  for_each_block(args.ends_E, args.x_RI.size(0), args.w.rows(), kTwoBitBlockRows, run,
                 [&](const RowChunk& chunk, Index first, Index count) {
                   block({args.w.expert(chunk.expert), first, count, rows_of(args.x_RI, chunk),
                          rows_of(args.y_RO, chunk)});
                 });
}

[[maybe_unused]] void to_input_in_blocks(const TwoBitProductToInput& args, const Run& run,
                                         void (*block)(const TwoBitBlockToInput&)) {
  for_each_block(args.ends_E, args.dy_RO.size(0), args.w.columns, kTwoBitBlockColumns, run,
                 [&](const RowChunk& chunk, Index first, Index count) {
                   block({args.w.expert(chunk.expert), first, count, rows_of(args.dy_RO, chunk),
                          rows_of(args.dx_RI, chunk)});
                 });
}

constexpr Variant<TwoBitProduct> kProduct[] = {
    {Isa::reference, product_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const TwoBitProduct& args,
                   const Run& run) { product_in_blocks(args, run, two_bit_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const TwoBitProduct& args,
                     const Run& run) { product_in_blocks(args, run, two_bit_block_avx512); }},
#endif
};

constexpr Variant<TwoBitProductToInput> kToInput[] = {
    {Isa::reference, to_input_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const TwoBitProductToInput& args,
                   const Run& run) { to_input_in_blocks(args, run, two_bit_block_to_input_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const TwoBitProductToInput& args, const Run& run) {
       to_input_in_blocks(args, run, two_bit_block_to_input_avx512);
     }},
#endif
};

}  // namespace

void two_bit_product(const TwoBitProduct& args, const Run& run) {
  const TwoBitExperts& w = args.w;
  check_sorted_product("two_bit_product", w.experts(), w.rows(), w.columns, args.ends_E, args.x_RI,
                       args.y_RO);
  select(two_bit_product_variants(), run).call(args, run);
}

std::span<const Variant<TwoBitProduct>> two_bit_product_variants() {
  return kProduct;
}

void two_bit_product_to_input(const TwoBitProductToInput& args, const Run& run) {
  const TwoBitExperts& w = args.w;
  check_sorted_product("two_bit_product_to_input", w.experts(), w.columns, w.rows(), args.ends_E,
                       args.dy_RO, args.dx_RI);
  select(two_bit_product_to_input_variants(), run).call(args, run);
}

std::span<const Variant<TwoBitProductToInput>> two_bit_product_to_input_variants() {
  return kToInput;
}

}  // namespace mote::kernels
