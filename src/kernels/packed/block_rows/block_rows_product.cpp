#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/packed/block_rows/block_rows.h"
#include "kernels/packed/block_rows/block_rows_matrix.h"
#include "kernels/packed/product/in_blocks.h"
#include "kernels/packed/product/int8_rows.h"
#include "kernels/packed/product/sorted_rows.h"

namespace mote::kernels {
namespace {

using Doubles = std::vector<double>;

std::vector<float> row_of(const PackedMatrices& w, Index expert, Index row) {
  std::vector<float> values(static_cast<std::size_t>(w.shape.columns));
  w.coder->decode_row(w, expert, row, values.data());
  return values;
}

// Each row of a matrix is decoded once for all that it meets: body(expert, row, values, first, end),
// the last two the rows of x.
template <class Body>
void for_each_weight_row(const PackedProduct& args, const Body& body) {
  Index first = 0;
  for (Index e = 0; e < args.w.shape.experts; first = args.ends_E(e++))
    for (Index o = 0; o < args.w.shape.rows && first < args.ends_E(e); ++o)
      body(o, row_of(args.w, e, o), first, Index{args.ends_E(e)});
}

void times_rows(const PackedProduct& args, const std::vector<Doubles>& x) {
  for_each_weight_row(
      args, [&](Index o, const std::vector<float>& weights, Index first, Index end) {
        for (Index r = first; r < end; ++r) {
          double sum = 0;
          for (std::size_t i = 0; i < weights.size(); ++i)
            sum += static_cast<double>(weights[i]) * x[static_cast<std::size_t>(r)][i];
          args.y(r, o) = static_cast<float>(sum);
        }
      });
}

std::vector<Doubles> rows_of(const PackedProduct& args) {
  std::vector<Doubles> rows;
  for (Index r = 0; r < args.x.size(0); ++r)
    rows.emplace_back(args.x.row(r), args.x.row(r) + args.x.size(1));
  return rows;
}

void product_reference(const PackedProduct& args, const Run&) {
  times_rows(args, rows_of(args));
}

void int8_reference(const PackedProduct& args, const Run&) {
  std::vector<Doubles> rows = rows_of(args);
  for (std::size_t r = 0; r < rows.size(); ++r)
    rounded_in_groups(args.x.row(static_cast<Index>(r)), args.x.size(1), rows[r].data());
  times_rows(args, rows);
}

void to_input_reference(const PackedProduct& args, const Run&) {
  std::vector<Doubles> sums(static_cast<std::size_t>(args.x.size(0)),
                            Doubles(static_cast<std::size_t>(args.w.shape.columns)));
  for_each_weight_row(args,
                      [&](Index o, const std::vector<float>& weights, Index first, Index end) {
                        for (Index r = first; r < end; ++r)
                          for (std::size_t i = 0; i < weights.size(); ++i)
                            sums[static_cast<std::size_t>(r)][i] +=
                                static_cast<double>(weights[i]) * static_cast<double>(args.x(r, o));
                      });
  for (Index r = 0; r < args.x.size(0); ++r)
    for (Index i = 0; i < args.w.shape.columns; ++i)
      args.y(r, i) =
          static_cast<float>(sums[static_cast<std::size_t>(r)][static_cast<std::size_t>(i)]);
}

BlockForm form_of(const BlockType& type) {
  constexpr std::pair<std::uint32_t, BlockForm> kForms[] = {
      {2, BlockForm::q4_0},  {3, BlockForm::q4_1},  {6, BlockForm::q5_0}, {8, BlockForm::q8_0},
      {12, BlockForm::q4_k}, {13, BlockForm::q5_k}, {14, BlockForm::q6_k}};
  for (const auto& [id, form] : kForms)
    if (type.id == id) return form;
  return BlockForm::other;
}

BlockMatrix block_expert(const PackedMatrices& w, Index e) {
  const BlockType& type = *w.coder->blocks();
  BlockMatrix m{w.shape.rows, w.shape.columns, w.part<std::byte>(0), type.elements,
                type.bytes,   form_of(type),   type.decode};
  m.blocks += e * m.rows * m.row_bytes();
  return m;
}

using Kernel = BlockKernel<BlockMatrix>;

constexpr Kernel kKernel = {
    .tokens = kBlockTokens,
    .outputs = 2 * kBlockPanelRows,
    .layout_bytes = [](const BlockMatrix&) { return Index{0}; },
    .lay_out = [](const BlockRowsLayout&) {},
    .panel_bytes = [](const BlockMatrix&) { return static_cast<Index>(sizeof(BlockRoom)); }};

// Long runs of rows, whole matrices where there are chunks for all workers: what a worker asks the memory
// for ahead is its own, then. No sum depends on the cut, so that it may depend on the workers.
Kernel kernel_for(const PackedProduct& args, const Run& run) {
  Kernel kernel = kKernel;
  const Index rows = args.y.size(1), threads = run.executor->threads();
  Index chunks = 0, first = 0;
  for (Index e = 0; e < args.ends_E.size(0); first = args.ends_E(e++))
    chunks += (args.ends_E(e) - first + kBlockTokens - 1) / kBlockTokens;
  const Index parts = threads == 1 || chunks >= 4 * threads ? 1 : 2 * threads;
  const Index panels = (rows + kBlockPanelRows - 1) / kBlockPanelRows;
  kernel.outputs = std::max<Index>(1, (panels + parts - 1) / parts) * kBlockPanelRows;
  return kernel;
}

// Unused in a build without vector variants.
[[maybe_unused]] void in_blocks(const PackedProduct& args, const Run& run,
                                void (*block)(const BlockRowsBlock&)) {
  Kernel kernel = kernel_for(args, run);
  kernel.block = block;
  product_in_blocks(args, run, block_expert, kernel);
}

[[maybe_unused]] void int8_in_blocks(const PackedProduct& args, const Run& run,
                                     void (*lay_out)(const BlockRowsLayout&),
                                     void (*block)(const BlockRowsBlock&)) {
  Kernel kernel = kernel_for(args, run);
  kernel.layout_bytes = [](const BlockMatrix& w) {
    return w.form == BlockForm::other ? w.columns * Index{sizeof(float)}
                                      : w.columns / kBlockGroup * 2 * Index{sizeof(BlockInt8)};
  };
  kernel.layout_tokens = 8;
  kernel.lay_out = lay_out;
  kernel.block = block;
  product_in_blocks(args, run, block_expert, kernel);
}

constexpr Variant<PackedProduct> kProduct[] = {
    {Isa::reference, product_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, [](const PackedProduct& args,
                   const Run& run) { in_blocks(args, run, block_rows_block_avx2); }},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, [](const PackedProduct& args,
                     const Run& run) { in_blocks(args, run, block_rows_block_avx512); }},
#endif
};

constexpr Variant<PackedProduct> kInt8[] = {
    {Isa::reference, int8_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, block_rows_lay_out_int8_avx2, block_rows_block_int8_avx2);
     }},
#endif
#if MOTE_WITH_AVX2_VNNI
    {Isa::avx2_vnni,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, block_rows_lay_out_int8_avx2, block_rows_block_int8_avx2_vnni);
     }},
#endif
#if MOTE_WITH_AVX512_VNNI
    {Isa::avx512_vnni,
     [](const PackedProduct& args, const Run& run) {
       int8_in_blocks(args, run, block_rows_lay_out_int8_avx512, block_rows_block_int8_avx512_vnni);
     }},
#endif
};

constexpr Variant<PackedProduct> kToInput[] = {{Isa::reference, to_input_reference}};

}  // namespace

Variants block_rows_product_variants() {
  return kProduct;
}
Variants block_rows_int8_variants() {
  return kInt8;
}
Variants block_rows_to_input_variants() {
  return kToInput;
}

}  // namespace mote::kernels
