#include <algorithm>
#include <vector>

#include "kernels/packed/product/in_blocks.h"
#include "kernels/packed/product/int8_rows.h"
#include "kernels/packed/q16/q16.h"
#include "kernels/packed/q16/q16_block.h"

namespace mote::kernels {
namespace {

void product_reference(const PackedProduct& args, const Run&) {
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const Q16Matrix w = q16_expert(args.w, e);
    for (Index o = 0; o < w.rows; ++o) {
      const double levels[] = {0, static_cast<double>(w.minimum(o)),
                               static_cast<double>(w.maximum(o))};
      double sum = 0;
      q16_for_each_trit(w, o, [&](Index i, std::uint32_t trit) {
        sum += levels[trit] * static_cast<double>(args.x(r, i));
      });
      args.y(r, o) = static_cast<float>(sum);
    }
  });
}

void int8_reference(const PackedProduct& args, const Run&) {
  std::vector<std::int8_t> x8(static_cast<std::size_t>(args.x.size(1)));
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const Q16Matrix w = q16_expert(args.w, e);
    const float scale = rounded_to_int8(args.x.row(r), w.columns, x8.data());
    for (Index o = 0; o < w.rows; ++o) {
      Index sums[3] = {};
      q16_for_each_trit(w, o, [&](Index i, std::uint32_t trit) {
        sums[trit] += x8[static_cast<std::size_t>(i)];
      });
      const double y = static_cast<double>(w.minimum(o)) * static_cast<double>(sums[1]) +
                       static_cast<double>(w.maximum(o)) * static_cast<double>(sums[2]);
      args.y(r, o) = static_cast<float>(static_cast<double>(scale) * y);
    }
  });
}

// Decoding runs along rows of W, and a sum over rows in double needs room: 512 columns at a time.
void to_input_reference(const PackedProduct& args, const Run&) {
  constexpr Index kColumns = 512;
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const Q16Matrix w = q16_expert(args.w, e);
    for (Index first = 0; first < w.columns; first += kColumns) {
      double sums[kColumns] = {};
      for (Index o = 0; o < w.rows; ++o) {
        const double levels[] = {0, static_cast<double>(w.minimum(o)),
                                 static_cast<double>(w.maximum(o))};
        q16_for_each_trit(w, o, [&](Index i, std::uint32_t trit) {
          if (i >= first && i < first + kColumns)
            sums[i - first] += levels[trit] * static_cast<double>(args.x(r, o));
        });
      }
      for (Index i = first; i < std::min(first + kColumns, w.columns); ++i)
        args.y(r, i) = static_cast<float>(sums[i - first]);
    }
  });
}

void lay_out(const Q16Layout& to) {
  auto* floats = reinterpret_cast<float*>(to.layout);
  const Index tokens = to.x.size(0), columns = to.w.columns, lanes = q16_lanes(tokens);
  if (lanes == 1) {
    for (Index i = 0; i < columns; ++i) {
      const float quad[4] = {0, 0, to.x(0, i), 0};
      std::copy_n(quad, 4, floats + 4 * i);
    }
    return;
  }
  for (Index i = 0; i < columns; ++i) {
    for (Index t = 0; t < tokens; ++t) floats[lanes * i + t] = to.x(t, i);
    for (Index t = tokens; t < lanes; ++t) floats[lanes * i + t] = 0;
  }
}

// Four floats per entry of x are enough for any number of lanes.
Index layout_bytes(const Q16Matrix& w) {
  return 16 * w.columns;
}

// Unused in a build without vector variants.
[[maybe_unused]] void in_blocks(const PackedProduct& args, const Run& run,
                                void (*block)(const Q16Block&)) {
  product_in_blocks(args, run, q16_expert,
                    {kQ16ChunkTokens, kQ16BlockRows, layout_bytes, lay_out, block});
}

// 16 lanes of 16 bits for two tokens or more, a row of 8 bits, and what aligns that.
Index int8_layout_bytes(const Q16Matrix& w) {
  return kQ16Int8Header + 16 * w.columns + 64 + int8_row_bytes(w.columns);
}

[[maybe_unused]] void int8_in_blocks(const PackedProduct& args, const Run& run,
                                     void (*lay_out_int8)(const Q16Layout&),
                                     void (*block)(const Q16Block&)) {
  product_in_blocks(args, run, q16_expert,
                    {kQ16Int8Tokens, kQ16BlockRows, int8_layout_bytes, lay_out_int8, block});
}

[[maybe_unused]] void int8_on_tiles(const PackedProduct& args, const Run& run,
                                    void (*lay_out_int8)(const Q16Layout&),
                                    void (*block)(const Q16Block&)) {
  const auto panels = [](const Q16Matrix&) { return kInt8PanelBytes; };
  product_in_blocks(
      args, run, q16_expert,
      {kInt8TileTokens, kQ16BlockRows, int8_layout_bytes, lay_out_int8, block, panels});
}

// A chunk's dx depends on every row of W, so the work is cut into chunks only.
[[maybe_unused]] void to_input_in_chunks(const PackedProduct& args, const Run& run,
                                         void (*block)(const Q16Block&)) {
  const auto nothing = [](const Q16Layout&) {};
  product_in_blocks(args, run, q16_expert,
                    {kQ16ChunkTokens, kMostPackedSide, layout_bytes, nothing, block});
}

constexpr Variant<PackedProduct> kProduct[] = {
    {Isa::reference, product_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const PackedProduct& args, const Run& run) { in_blocks(args, run, q16_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const PackedProduct& args, const Run& run) { in_blocks(args, run, q16_block_avx512); }},
#endif
};

constexpr Variant<PackedProduct> kInt8[] = {
    {Isa::reference, int8_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, q16_lay_out_int8_avx2, q16_block_int8_avx2);
     }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, q16_lay_out_int8_avx512, q16_block_int8_avx512);
     }},
#endif
#if MOTE_WITH_AMX
    {Isa::amx,
     [](const PackedProduct& args, const Run& run) {
       int8_on_tiles(args, run, q16_lay_out_int8_amx, q16_block_int8_amx);
     }},
#endif
};

constexpr Variant<PackedProduct> kToInput[] = {
    {Isa::reference, to_input_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const PackedProduct& args,
                   const Run& run) { to_input_in_chunks(args, run, q16_block_to_input_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const PackedProduct& args,
                     const Run& run) { to_input_in_chunks(args, run, q16_block_to_input_avx512); }},
#endif
};

}  // namespace

Variants q16_product_variants() {
  return kProduct;
}
Variants q16_int8_variants() {
  return kInt8;
}
Variants q16_to_input_variants() {
  return kToInput;
}

}  // namespace mote::kernels
