#include "kernels/linear/gemm/gemm.h"

#include <algorithm>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/gemm/gemm_blocking.h"

namespace mote::kernels {
namespace {

float element(const Operand& x, Index outer, Index inner, Precision precision) {
  const Index row = x.rows == Rows::outer ? outer : inner;
  const Index column = x.rows == Rows::outer ? inner : outer;
  const Index at = (x.pick ? x.pick[row] : row) * x.stride + column;
  float value = 0;
  if (x.type == Type::f32) value = static_cast<const float*>(x.data)[at];
  if (x.type == Type::bf16) value = from_bf16(static_cast<const Bf16*>(x.data)[at]);
  if (x.type == Type::f16) value = from_f16(static_cast<const F16*>(x.data)[at]);
  if (x.scale) value *= x.scale[row];
  return precision == Precision::bf16 ? from_bf16(to_bf16(value)) : value;
}

// The operand as plain memory: what a source writes into panels of 16 of W's rows. The reference's
// own panels are rows of k.
Operand in_memory(const Operand& x, Index outer, Index inner, Scratch& scratch) {
  if (x.panels) return {x.panels, inner};
  if (!x.source.fill) return x;
  const Index rows = x.rows == Rows::outer ? outer : inner,
              columns = x.rows == Rows::outer ? inner : outer;
  const Index first_row = x.rows == Rows::outer ? x.first : 0,
              first_column = x.rows == Rows::outer ? 0 : x.first;
  float* dense = scratch.take<float>(rows * columns);
  float* panel = scratch.take<float>(kPanelRows * columns);
  for (Index r = 0; r < rows; ++r) {
    if (r % kPanelRows == 0)
      x.source.fill(x.source.storage, {first_row + r, first_column, columns, panel, kPanelRows});
    for (Index c = 0; c < columns; ++c)
      dense[r * columns + c] = panel[c * kPanelRows + r % kPanelRows];
  }
  return {dense, columns, x.rows};
}

// The two products of a gated one.
Gemm product_of_gate(const Gemm& args, float* g) {
  Gemm product = args;
  product.b = args.gate, product.gate = {};
  product.c = g, product.c_stride = args.n;
  return product;
}
Gemm product_of_up(const Gemm& args) {
  Gemm product = args;
  product.gate = {};
  return product;
}
// Of g, of which the rows have no gaps, and c: both products.
Gated units_of(const Gemm& args, const float* g) {
  const View<float, 2> c{args.c, {args.m, args.n}, {args.c_stride, 1}};
  return {view(g, args.m, args.n), c, args.unit, c};
}

double finished(const Gemm& args, Index i, Index j, double sum) {
  const Finish& f = args.finish;
  if (f.bias) sum += static_cast<double>(f.bias[j]);
  if (f.activation == Activation::relu && sum < 0) sum = 0;
  if (f.factor) sum *= static_cast<double>(f.factor[i * f.factor_stride + j]);
  if (f.row_scale) sum *= static_cast<double>(f.row_scale[i]);
  return sum;
}

void reference(const Gemm& args, const Run& run);

void reference_of_two(const Gemm& args, const Run& run) {
  Scratch scratch;
  float* g = scratch.take<float>(args.m * args.n);
  reference(product_of_gate(args, g), run);
  reference(product_of_up(args), run);
  gated_variants().front().call(units_of(args, g), run);
}

void reference(const Gemm& args, const Run& run) {
  if (args.gated()) return reference_of_two(args, run);
  run.count(args.m * args.n * args.k);
  Scratch scratch;
  const Operand b = in_memory(args.b, args.n, args.k, scratch);
  for (Index i = 0; i < args.m; ++i)
    for (Index j = 0; j < args.n; ++j) {
      float& c = args.c[i * args.c_stride + j];
      double sum = args.finish.accumulate ? static_cast<double>(c) : 0;
      for (Index k = 0; k < args.k; ++k)
        sum += static_cast<double>(element(args.a, i, k, args.precision)) *
               static_cast<double>(element(b, j, k, args.precision));
      c = static_cast<float>(finished(args, i, j, sum));
    }
}

void pack_reference(const GemmPackB& args, const Run&) {
  const Gemm& g = args.like;
  Scratch scratch;
  const Operand b = in_memory(g.b, g.n, g.k, scratch);
  for (Index j = 0; j < g.n; ++j)
    for (Index k = 0; k < g.k; ++k) args.panels[j * g.k + k] = element(b, j, k, Precision::f32);
}

template <void (*pack)(const GemmBlock&)>
[[maybe_unused]] void pack_blocks(const GemmPackB& args, const Run&) {
  pack({args.like, gemm_blocking(args.like), args.panels, nullptr});
}

// Vector code with the memory that it needs. Unused in a build without.
template <void (*blocked)(const GemmBlock&), void (*transposed)(const GemmTransposed&),
          void (*few_rows)(const Gemm&, float* a_rows), void (*units)(const Gated&, const Run&)>
[[maybe_unused]] void with_scratch(const Gemm& args, const Run& run) {
  Scratch scratch;
  const bool has_few = has_few_rows(args);
  if (!has_few && is_transposed(args)) {
    run.count((args.gated() ? 2 : 1) * args.m * args.n * args.k);
    const GemmBlocking cut = gemm_transposed_blocking(args);
    return transposed({args, cut, scratch.take<float>(gemm_panels_of_a_floats(args, cut)),
                       scratch.take<float>(gemm_rows_of_b_floats(args)),
                       scratch.take<float>(gemm_group_floats(cut))});
  }
  if (args.gated()) {
    const auto product = with_scratch<blocked, transposed, few_rows, units>;
    float* g = scratch.take<float>(args.m * args.n);
    product(product_of_gate(args, g), run);
    product(product_of_up(args), run);
    return units(units_of(args, g), run);
  }
  run.count(args.m * args.n * args.k);
  if (has_few) return few_rows(args, scratch.take<float>(gemm_few_rows_floats(args)));
  const GemmBlocking cut = gemm_blocking(args);
  float* b_panels = args.b.panels ? nullptr : scratch.take<float>(gemm_b_floats(cut));
  blocked({args, cut, b_panels, scratch.take<float>(gemm_a_floats(cut))});
}

constexpr Variant<Gemm> kF32[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, with_scratch<gemm_avx2, gemm_transposed_avx2, gemm_few_rows_avx2, gated_avx2>},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512,
     with_scratch<gemm_avx512, gemm_transposed_avx512, gemm_few_rows_avx512, gated_avx512>},
#endif
};

constexpr Variant<Gemm> kBf16[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2,
     with_scratch<gemm_bf16_avx2, gemm_transposed_bf16_avx2, gemm_few_rows_bf16_avx2, gated_avx2>},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, with_scratch<gemm_bf16_avx512, gemm_transposed_bf16_avx512,
                               gemm_few_rows_bf16_avx512, gated_avx512>},
#endif
#if MOTE_WITH_AVX512_BF16
    {Isa::avx512_bf16, with_scratch<gemm_bf16_avx512_bf16, gemm_transposed_bf16_avx512_bf16,
                                    gemm_few_rows_bf16_avx512_bf16, gated_avx512>},
#endif
#if MOTE_WITH_AMX
    {Isa::amx, with_scratch<gemm_bf16_amx, gemm_transposed_bf16_amx, gemm_few_rows_bf16_avx512_bf16,
                            gated_avx512>},
#endif
};

constexpr Variant<GemmPackB> kPackB[] = {
    {Isa::reference, pack_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, pack_blocks<gemm_pack_b_avx2>},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, pack_blocks<gemm_pack_b_avx512>},
#endif
};

void check_operand(const char* name, const Operand& x, Index outer, Index inner) {
  const Index row = x.rows == Rows::outer ? inner : outer,
              rows = x.rows == Rows::outer ? outer : inner;
  if (outer == 0 || inner == 0 || x.panels) return;
  if (x.source.fill) {
    MOTE_CHECK(!x.data && !x.pick && !x.scale, "gemm: ", name,
               " is a panel source, and memory, an index list or a scale is given too");
    MOTE_CHECK(x.first % 64 == 0, "gemm: ", name, " begins at ", x.first, " of its source, no 64");
    return;
  }
  MOTE_CHECK(x.data, "gemm: ", name, " is ", outer, " x ", inner, " and has no memory");
  MOTE_CHECK(rows == 1 || x.stride >= row || x.pick, "gemm: rows of ", name, " have ", row,
             " elements and are ", x.stride, " apart");
  MOTE_CHECK(!x.scale || x.rows == Rows::inner, "gemm: ", name, " has ", outer,
             " stored rows with a scale, only Rows::inner has one");
}

}  // namespace

void check_gemm(const Gemm& args) {
  MOTE_CHECK(args.m >= 0 && args.n >= 0 && args.k >= 0, "gemm: sizes ", args.m, " x ", args.n,
             " x ", args.k);
  if (args.m == 0 || args.n == 0) return;
  MOTE_CHECK(!args.a.source.fill && !args.a.panels,
             "gemm: a is a panel source or panels, which only b may be");
  MOTE_CHECK(!args.b.panels || args.precision == Precision::f32,
             "gemm: b is laid out beforehand, which is for float32 products only");
  check_operand("a", args.a, args.m, args.k);
  check_operand("b", args.b, args.n, args.k);
  if (args.gated()) {
    const Operand &gate = args.gate, &b = args.b;
    check_operand("gate", gate, args.n, args.k);
    MOTE_CHECK(b.data && gate.rows == Rows::outer && b.rows == Rows::outer,
               "gemm: gate and b of a gated product lie in memory with k along their rows");
    MOTE_CHECK(gate.type == b.type, "gemm: gate has elements of ", 8 * size_of(gate.type),
               " bits, b of ", 8 * size_of(b.type), " or of another type");
    MOTE_CHECK(!args.finish.any(), "gemm: a gated product has a unit and no other finish");
  }
  MOTE_CHECK(args.c && (args.m == 1 || args.c_stride >= args.n), "gemm: rows of c have ", args.n,
             " elements and are ", args.c_stride, " apart");
  MOTE_CHECK(!args.finish.factor || args.m == 1 || args.finish.factor_stride >= args.n,
             "gemm: rows of the factor have ", args.n, " elements and are ",
             args.finish.factor_stride, " apart");
}

Operand from_outer(Operand x, Index first) {
  if (x.source.fill) {
    x.first += first;
    return x;
  }
  if (x.rows == Rows::outer && x.pick) {
    x.pick += first;
    return x;
  }
  const Index elements = x.rows == Rows::inner ? first : first * x.stride;
  x.data = static_cast<const char*>(x.data) + elements * size_of(x.type);
  return x;
}

Gemm part_of(const Gemm& whole, Index i, Index m, Index j, Index n) {
  Gemm part = whole;
  part.m = m, part.n = n;
  part.a = from_outer(whole.a, i);
  part.b = from_outer(whole.b, j);
  if (whole.gated()) part.gate = from_outer(whole.gate, j);
  part.c = whole.c + i * whole.c_stride + j;
  Finish& f = part.finish;
  if (f.bias) f.bias += j;
  if (f.factor) f.factor += i * f.factor_stride + j;
  if (f.row_scale) f.row_scale += i;
  return part;
}

std::span<const Variant<Gemm>> gemm_variants(Precision precision) {
  if (precision == Precision::bf16) return kBf16;
  return kF32;
}

Index gemm_packed_b_floats(const Gemm& like) {
  return std::max(like.n * like.k, gemm_packed_b_floats(gemm_blocking(like), like.n, like.k));
}

void gemm_pack_b(const GemmPackB& args, const Run& run) {
  check_gemm(args.like);
  select(gemm_pack_b_variants(), run).call(args, run);
}

std::span<const Variant<GemmPackB>> gemm_pack_b_variants() {
  return kPackB;
}

const Variant<Gemm>& gemm_variant(const Gemm& like, const Run& run) {
  return select(gemm_variants(like.precision), run);
}

void gemm(const Gemm& args, const Run& run) {
  check_gemm(args);
  gemm_variant(args, run).call(args, run);
}

}  // namespace mote::kernels
