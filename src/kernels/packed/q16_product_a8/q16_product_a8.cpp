#include "kernels/packed/q16_product_a8/q16_product_a8.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/core/aligned.h"
#include "kernels/packed/q16_product_a8/q16_product_a8_block.h"
#include "kernels/packed/sorted_rows.h"

namespace mote::kernels {
namespace {

float scale_of(const float* x, Index columns) {
  float largest = 0;
  for (Index i = 0; i < columns; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest / 127;
}

int quantised(float x, float scale) {
  if (!(scale > 0)) return 0;
  return static_cast<int>(std::clamp(std::nearbyint(x / scale), -127.0f, 127.0f));
}

void product_reference(const Q16ProductA8& args, const Run&) {
  const std::uint32_t* entries = q16_entries();
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const Q16Matrix w = args.w.expert(e);
    const float scale = scale_of(args.x_RI.row(r), w.columns);
    for (Index o = 0; o < w.rows; ++o) {
      Index sums[3] = {};
      Index base = 0;
      for (Index i = w.row_begin(o); i < w.row_end(o); ++i) {
        const std::uint32_t entry = entries[w.codes[i]];
        for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8)
          sums[slots & 3] += quantised(args.x_RI(r, base + ((slots & 0xff) >> 2)), scale);
        base += 2 * q16_pairs(entry);
      }
      const double y = static_cast<double>(w.minimum(o)) * static_cast<double>(sums[1]) +
                       static_cast<double>(w.maximum(o)) * static_cast<double>(sums[2]);
      args.y_RO(r, o) = static_cast<float>(static_cast<double>(scale) * y);
    }
  });
}

// Scratch holds a scale per row, then the layouts; a chunk's has room in proportion to its rows.
struct Layout {
  float* scales_T;
  std::byte* x;
};

Layout layout_of(const RowChunk& chunk, const Q16ProductA8& args) {
  std::byte* start = aligned(args.scratch.data);
  std::byte* layouts = start + args.x_RI.size(0) * 4;
  return {reinterpret_cast<float*>(start) + chunk.first,
          aligned(layouts + chunk.first * (32 * args.w.columns + 64))};
}

void lay_out(const RowChunk& chunk, View<const float, 2> x_RI, const Layout& to) {
  const Index columns = x_RI.size(1);
  for (Index t = 0; t < chunk.tokens; ++t)
    to.scales_T[t] = scale_of(x_RI.row(chunk.first + t), columns);
  if (chunk.tokens == 1) {
    auto* quads_I4 = reinterpret_cast<std::int32_t*>(to.x);
    for (Index i = 0; i < columns; ++i) {
      const std::int32_t quad[4] = {0, 0, quantised(x_RI(chunk.first, i), to.scales_T[0]), 0};
      std::copy_n(quad, 4, quads_I4 + 4 * i);
    }
    return;
  }
  auto* lanes_IL = reinterpret_cast<std::int16_t*>(to.x);
  std::fill_n(lanes_IL, kQ16A8ChunkTokens * columns, std::int16_t{0});
  for (Index t = 0; t < chunk.tokens; ++t)
    for (Index i = 0; i < columns; ++i)
      lanes_IL[kQ16A8ChunkTokens * i + t] =
          static_cast<std::int16_t>(quantised(x_RI(chunk.first + t, i), to.scales_T[t]));
}

// Unused in a build without vector variants.
[[maybe_unused]] void product_in_blocks(const Q16ProductA8& args, const Run& run,
                                        void (*block)(const Q16A8Block&)) {
  const Index num_rows = args.x_RI.size(0), outputs = args.w.rows();
  const Index blocks = (outputs + kQ16A8BlockRows - 1) / kQ16A8BlockRows;
  parallel_for(*run.executor, num_rows, [&](Index r, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, r, kQ16A8ChunkTokens);
    if (chunk.tokens > 0) lay_out(chunk, args.x_RI, layout_of(chunk, args));
  });
  parallel_for(*run.executor, num_rows * blocks, [&](Index item, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, item / blocks, kQ16A8ChunkTokens);
    if (chunk.tokens == 0) return;
    const Index first = item % blocks * kQ16A8BlockRows;
    const Layout layout = layout_of(chunk, args);
    block({args.w.expert(chunk.expert), q16_entries(), first,
           std::min(kQ16A8BlockRows, outputs - first), layout.x, layout.scales_T,
           rows_of(args.y_RO, chunk)});
  });
}

constexpr Variant<Q16ProductA8> kVariants[] = {
    {Isa::reference, product_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const Q16ProductA8& args,
                   const Run& run) { product_in_blocks(args, run, q16_a8_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const Q16ProductA8& args,
                     const Run& run) { product_in_blocks(args, run, q16_a8_block_avx512); }},
#endif
};

}  // namespace

void q16_product_a8(const Q16ProductA8& args, const Run& run) {
  const Q16Experts& w = args.w;
  check_sorted_product("q16_product_a8", w.experts(), w.rows(), w.columns, args.ends_E, args.x_RI,
                       args.y_RO);
  const Index needed = q16_a8_scratch(args.x_RI.size(0), w.columns);
  MOTE_CHECK(args.scratch.size(0) >= needed, "q16_product_a8: scratch has ", args.scratch.size(0),
             " bytes, ", needed, " are needed");
  select(q16_product_a8_variants(), run).call(args, run);
}

std::span<const Variant<Q16ProductA8>> q16_product_a8_variants() {
  return kVariants;
}

}  // namespace mote::kernels
