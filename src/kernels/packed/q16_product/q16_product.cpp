#include "kernels/packed/q16_product/q16_product.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/core/aligned.h"
#include "kernels/packed/q16_product/q16_product_block.h"
#include "kernels/packed/sorted_rows.h"

namespace mote::kernels {
namespace {

// Adds weight * x for each nonzero weight of a row: calls add(column, weight).
template <class Add>
void for_each_weight(const Q16Matrix& w, Index row, const Add& add) {
  const std::uint32_t* entries = q16_entries();
  const float levels[3] = {0, w.minimum(row), w.maximum(row)};
  Index base = 0;
  for (Index i = w.row_begin(row); i < w.row_end(row); ++i) {
    const std::uint32_t entry = entries[w.codes[i]];
    for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8)
      add(base + ((slots & 0xff) >> 2), levels[slots & 3]);
    base += 2 * q16_pairs(entry);
  }
}

void product_reference(const Q16Product& args, const Run&) {
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const Q16Matrix w = args.w.expert(e);
    for (Index o = 0; o < w.rows; ++o) {
      double sum = 0;
      for_each_weight(w, o, [&](Index i, float weight) {
        sum += static_cast<double>(weight) * static_cast<double>(args.x_RI(r, i));
      });
      args.y_RO(r, o) = static_cast<float>(sum);
    }
  });
}

// Decoding runs along rows of W, and a sum over rows in double needs room: 512 columns at a time.
void to_input_reference(const Q16ProductToInput& args, const Run&) {
  constexpr Index kColumns = 512;
  for_each_row(args.ends_E, [&](Index e, Index r) {
    const Q16Matrix w = args.w.expert(e);
    for (Index first = 0; first < w.columns; first += kColumns) {
      double sums[kColumns] = {};
      for (Index o = 0; o < w.rows; ++o)
        for_each_weight(w, o, [&](Index i, float weight) {
          if (i >= first && i < first + kColumns)
            sums[i - first] += static_cast<double>(weight) * static_cast<double>(args.dy_RO(r, o));
        });
      for (Index i = first; i < std::min(first + kColumns, w.columns); ++i)
        args.dx_RI(r, i) = static_cast<float>(sums[i - first]);
    }
  });
}

// Where a chunk's layout lies, on a boundary of 64 bytes. Four floats per entry of x are enough for
// any number of lanes.
float* layout_of(const RowChunk& chunk, View<float, 1> scratch, Index columns) {
  float* place = scratch.data + chunk.first * (4 * columns + 16);
  return reinterpret_cast<float*>(aligned(reinterpret_cast<std::byte*>(place)));
}

void lay_out(const RowChunk& chunk, View<const float, 2> x_RI, float* to) {
  const Index columns = x_RI.size(1), lanes = q16_lanes(chunk.tokens);
  if (lanes == 1) {
    const float* x = x_RI.row(chunk.first);
    for (Index i = 0; i < columns; ++i) {
      const float quad[4] = {0, 0, x[i], 0};
      std::copy_n(quad, 4, to + 4 * i);
    }
    return;
  }
  for (Index i = 0; i < columns; ++i) {
    for (Index t = 0; t < chunk.tokens; ++t) to[lanes * i + t] = x_RI(chunk.first + t, i);
    for (Index t = chunk.tokens; t < lanes; ++t) to[lanes * i + t] = 0;
  }
}

// Unused in a build without vector variants.
[[maybe_unused]] void product_in_blocks(const Q16Product& args, const Run& run,
                                        void (*block)(const Q16Block&)) {
  const Index num_rows = args.x_RI.size(0), columns = args.w.columns, outputs = args.w.rows();
  const Index blocks = (outputs + kQ16BlockRows - 1) / kQ16BlockRows;
  parallel_for(*run.executor, num_rows, [&](Index r, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, r, kQ16ChunkTokens);
    if (chunk.tokens > 0) lay_out(chunk, args.x_RI, layout_of(chunk, args.scratch, columns));
  });
  parallel_for(*run.executor, num_rows * blocks, [&](Index item, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, item / blocks, kQ16ChunkTokens);
    if (chunk.tokens == 0) return;
    const Index first = item % blocks * kQ16BlockRows;
    block({args.w.expert(chunk.expert), q16_entries(), first,
           std::min(kQ16BlockRows, outputs - first), chunk.tokens,
           layout_of(chunk, args.scratch, columns), rows_of(args.y_RO, chunk)});
  });
}

// A chunk's dx depends on every row of W, so the work is cut into chunks only.
[[maybe_unused]] void to_input_in_chunks(const Q16ProductToInput& args, const Run& run,
                                         void (*block)(const Q16BlockToInput&)) {
  const Index columns = args.w.columns;
  parallel_for(*run.executor, args.dy_RO.size(0), [&](Index r, int) {
    const RowChunk chunk = row_chunk_at(args.ends_E, r, kQ16ChunkTokens);
    if (chunk.tokens == 0) return;
    const Index lanes = std::max(Index{4}, q16_lanes(chunk.tokens));
    float* dx_IL = layout_of(chunk, args.scratch, columns);
    std::fill_n(dx_IL, columns * lanes, 0.0f);
    block({args.w.expert(chunk.expert), q16_entries(), chunk.tokens, rows_of(args.dy_RO, chunk),
           dx_IL});
    for (Index t = 0; t < chunk.tokens; ++t)
      for (Index i = 0; i < columns; ++i) args.dx_RI(r + t, i) = dx_IL[lanes * i + t];
  });
}

constexpr Variant<Q16Product> kProduct[] = {
    {Isa::reference, product_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const Q16Product& args, const Run& run) { product_in_blocks(args, run, q16_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const Q16Product& args,
                     const Run& run) { product_in_blocks(args, run, q16_block_avx512); }},
#endif
};

constexpr Variant<Q16ProductToInput> kToInput[] = {
    {Isa::reference, to_input_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const Q16ProductToInput& args,
                   const Run& run) { to_input_in_chunks(args, run, q16_block_to_input_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const Q16ProductToInput& args,
                     const Run& run) { to_input_in_chunks(args, run, q16_block_to_input_avx512); }},
#endif
};

void check_scratch(const char* op, View<const float, 1> scratch, Index rows, Index columns) {
  MOTE_CHECK(scratch.size(0) >= q16_scratch(rows, columns), op, ": scratch has ", scratch.size(0),
             " floats, ", q16_scratch(rows, columns), " are needed");
}

}  // namespace

void q16_product(const Q16Product& args, const Run& run) {
  const Q16Experts& w = args.w;
  check_sorted_product("q16_product", w.experts(), w.rows(), w.columns, args.ends_E, args.x_RI,
                       args.y_RO);
  check_scratch("q16_product", args.scratch, args.x_RI.size(0), w.columns);
  select(q16_product_variants(), run).call(args, run);
}

std::span<const Variant<Q16Product>> q16_product_variants() {
  return kProduct;
}

void q16_product_to_input(const Q16ProductToInput& args, const Run& run) {
  const Q16Experts& w = args.w;
  check_sorted_product("q16_product_to_input", w.experts(), w.columns, w.rows(), args.ends_E,
                       args.dy_RO, args.dx_RI);
  check_scratch("q16_product_to_input", args.scratch, args.dy_RO.size(0), w.columns);
  select(q16_product_to_input_variants(), run).call(args, run);
}

std::span<const Variant<Q16ProductToInput>> q16_product_to_input_variants() {
  return kToInput;
}

}  // namespace mote::kernels
