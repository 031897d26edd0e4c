#include <vector>

#include "kernels/packed/product/in_blocks.h"
#include "kernels/packed/product/int8_rows.h"
#include "kernels/packed/two_bit/two_bit.h"
#include "kernels/packed/two_bit/two_bit_block.h"

namespace mote::kernels {
namespace {

void product_reference(const PackedProduct& args, const Run&) {
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const TwoBitMatrix w = two_bit_expert(args.w, e);
    for (Index o = 0; o < w.rows; ++o) {
      double sum = 0;
      for (Index i = 0; i < w.columns; ++i)
        sum += static_cast<double>(w.value(o, i)) * static_cast<double>(args.x(r, i));
      args.y(r, o) = static_cast<float>(sum);
    }
  });
}

void int8_reference(const PackedProduct& args, const Run&) {
  std::vector<std::int8_t> x8(static_cast<std::size_t>(args.x.size(1)));
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const TwoBitMatrix w = two_bit_expert(args.w, e);
    const float scale = rounded_to_int8(args.x.row(r), w.columns, x8.data());
    for (Index o = 0; o < w.rows; ++o) {
      Index sum = 0;
      for (Index i = 0; i < w.columns; ++i)
        sum += (w.code(o, i) - w.zeros_R[o]) * Index{x8[static_cast<std::size_t>(i)]};
      args.y(r, o) = static_cast<float>(static_cast<double>(scale) *
                                        static_cast<double>(from_bf16(w.scales_R[o])) *
                                        static_cast<double>(sum));
    }
  });
}

void to_input_reference(const PackedProduct& args, const Run&) {
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const TwoBitMatrix w = two_bit_expert(args.w, e);
    for (Index i = 0; i < w.columns; ++i) {
      double sum = 0;
      for (Index o = 0; o < w.rows; ++o)
        sum += static_cast<double>(w.value(o, i)) * static_cast<double>(args.x(r, o));
      args.y(r, i) = static_cast<float>(sum);
    }
  });
}

void lay_out_sums(const TwoBitLayout& to) {
  for (Index t = 0; t < to.x.size(0); ++t) {
    float sum = 0;
    for (Index i = 0; i < to.w.columns; ++i) sum += to.x(t, i);
    *reinterpret_cast<float*>(to.layout + t * kTwoBitSums) = sum;
  }
}

void lay_out_to_input(const TwoBitLayout& to) {
  const Index padded = two_bit_padded(to.w.rows), tokens = to.x.size(0);
  auto* floats = reinterpret_cast<float*>(to.layout);
  std::fill_n(floats, (tokens + 1) * padded, 0.0f);
  for (Index row = 0; row < to.w.rows; ++row) {
    const float scale = from_bf16(to.w.scales_R[row]);
    for (Index t = 0; t < tokens; ++t) floats[t * padded + row] = scale * to.x(t, row);
    floats[tokens * padded + row] = static_cast<float>(int{to.w.zeros_R[row]});
  }
}

// Unused in a build without vector variants.
[[maybe_unused]] void in_blocks(const PackedProduct& args, const Run& run,
                                void (*block)(const TwoBitBlock&)) {
  product_in_blocks(args, run, two_bit_expert,
                    {.layout_bytes = [](const TwoBitMatrix&) { return kTwoBitSums; },
                     .lay_out = lay_out_sums,
                     .block = block});
}

[[maybe_unused]] void int8_in_blocks(const PackedProduct& args, const Run& run,
                                     void (*lay_out)(const TwoBitLayout&),
                                     void (*block)(const TwoBitBlock&)) {
  product_in_blocks(
      args, run, two_bit_expert,
      {.layout_bytes = [](const TwoBitMatrix& w) { return int8_row_bytes(w.columns); },
       .lay_out = lay_out,
       .block = block});
}

[[maybe_unused]] void int8_on_tiles(const PackedProduct& args, const Run& run,
                                    void (*lay_out)(const TwoBitLayout&),
                                    void (*block)(const TwoBitBlock&)) {
  product_in_blocks(
      args, run, two_bit_expert,
      {.tokens = kInt8TileTokens,
       .layout_bytes = [](const TwoBitMatrix& w) { return int8_row_bytes(w.columns); },
       .lay_out = lay_out,
       .block = block,
       .panel_bytes = [](const TwoBitMatrix&) { return kInt8PanelBytes; }});
}

[[maybe_unused]] void to_input_in_blocks(const PackedProduct& args, const Run& run,
                                         void (*block)(const TwoBitBlock&)) {
  product_in_blocks(
      args, run, two_bit_expert,
      {.layout_bytes = [](const TwoBitMatrix& w) { return 8 * two_bit_padded(w.rows); },
       .lay_out = lay_out_to_input,
       .block = block});
}

constexpr Variant<PackedProduct> kProduct[] = {
    {Isa::reference, product_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const PackedProduct& args, const Run& run) { in_blocks(args, run, two_bit_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const PackedProduct& args, const Run& run) { in_blocks(args, run, two_bit_block_avx512); }},
#endif
};

constexpr Variant<PackedProduct> kInt8[] = {
    {Isa::reference, int8_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, two_bit_lay_out_int8_avx2, two_bit_block_int8_avx2);
     }},
#endif
#if MOTE_WITH_AVX2_VNNI
    {Isa::avx2_vnni,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, two_bit_lay_out_int8_avx2, two_bit_block_int8_avx2_vnni);
     }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, two_bit_lay_out_int8_avx512, two_bit_block_int8_avx512);
     }},
#endif
#if MOTE_WITH_AVX512_VNNI
    {Isa::avx512_vnni,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, two_bit_lay_out_int8_avx512, two_bit_block_int8_avx512_vnni);
     }},
#endif
#if MOTE_WITH_AMX
    {Isa::amx,
     [](const PackedProduct& args, const Run& run) {
       int8_on_tiles(args, run, two_bit_lay_out_int8_avx512, two_bit_block_int8_amx);
     }},
#endif
};

constexpr Variant<PackedProduct> kToInput[] = {
    {Isa::reference, to_input_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const PackedProduct& args,
                   const Run& run) { to_input_in_blocks(args, run, two_bit_block_to_input_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const PackedProduct& args, const Run& run) {
       to_input_in_blocks(args, run, two_bit_block_to_input_avx512);
     }},
#endif
};

}  // namespace

Variants two_bit_product_variants() {
  return kProduct;
}
Variants two_bit_int8_variants() {
  return kInt8;
}
Variants two_bit_to_input_variants() {
  return kToInput;
}

}  // namespace mote::kernels
