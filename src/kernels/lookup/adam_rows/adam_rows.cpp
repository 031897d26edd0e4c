#include "kernels/lookup/adam_rows/adam_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace mote::kernels {
namespace {

double value_at(const RowStore& store, Index row, Index d) {
  const Index at = row * store.stride + d;
  if (store.type == Type::bf16)
    return static_cast<double>(from_bf16(static_cast<const Bf16*>(store.data)[at]));
  return static_cast<double>(static_cast<const float*>(store.data)[at]);
}

void put(const RowStore& store, Index row, Index d, double value, std::uint32_t noise) {
  const Index at = row * store.stride + d;
  const auto narrow = static_cast<float>(value);
  if (store.type == Type::bf16)
    static_cast<Bf16*>(store.data)[at] =
        static_cast<Bf16>((std::bit_cast<std::uint32_t>(narrow) + (noise & 0xffff)) >> 16);
  else
    static_cast<float*>(store.data)[at] = narrow;
}

// One row: its square first, where it has one; then next(d, p, m, v), which changes them.
template <class Square, class Next>
void update_row(const AdamTable& t, Index row, std::uint32_t key, const Square& row_square,
                const Next& next) {
  double v = t.row_square ? row_square(value_at(t.square, row, 0)) : 0;
  for (Index d = 0; d < t.columns; ++d) {
    double p = value_at(t.value, row, d), m = value_at(t.mean, row, d);
    if (!t.row_square) v = value_at(t.square, row, d);
    double after = v;
    next(d, p, m, after);
    const std::uint32_t noise = row_noise(key, row, d);
    put(t.value, row, d, p, noise);
    put(t.mean, row, d, m, noise >> 16);
    if (!t.row_square) put(t.square, row, d, after, row_noise(~key, row, d));
  }
}

void adam_reference(const AdamRows& args, const Run&) {
  const AdamTable& t = args.table;
  const auto beta1 = static_cast<double>(args.beta1), beta2 = static_cast<double>(args.beta2);
  for (Index r = 0; r < args.row_R.size(0); ++r) {
    const Index row = args.row_R(r);
    const AdamStep& step = args.step[args.own_steps ? r : 0];
    const auto gradient = [&](Index d) {
      return static_cast<double>(args.factor) * static_cast<double>(args.grad_RD(r, d));
    };
    const auto row_square = [&](double before) {
      double sum = 0;
      for (Index d = 0; d < t.columns; ++d) sum += gradient(d) * gradient(d);
      const double v = beta2 * before + (1 - beta2) * sum / static_cast<double>(t.columns);
      put(t.square, row, 0, v, 0);
      return v;
    };
    update_row(t, row, args.key, row_square, [&](Index d, double& p, double& m, double& v) {
      m = beta1 * m + (1 - beta1) * gradient(d);
      if (!t.row_square) v = beta2 * v + (1 - beta2) * gradient(d) * gradient(d);
      p = static_cast<double>(args.decay) * p -
          static_cast<double>(step.rate) * m /
              (static_cast<double>(step.root) * std::sqrt(v) + static_cast<double>(step.epsilon));
    });
  }
}

void move_reference(const MoveRows& args, const Run&) {
  const AdamTable& t = args.table;
  for (Index r = 0; r < args.row_R.size(0); ++r) {
    const Index row = args.row_R(r);
    const RowMove& move = args.move[r];
    update_row(
        t, row, args.key, [](double v) { return v; },
        [&](Index, double& p, double& m, double& v) {
          p = static_cast<double>(move.decay) * p -
              static_cast<double>(move.rate) * m /
                  (std::sqrt(v) + static_cast<double>(move.epsilon));
          m *= static_cast<double>(move.mean);
          v *= static_cast<double>(move.square);
        });
    if (t.row_square)
      put(t.square, row, 0, value_at(t.square, row, 0) * static_cast<double>(move.square), 0);
  }
}

constexpr Variant<AdamRows> kAdam[] = {
    {Isa::reference, adam_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, adam_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, adam_rows_avx512},
#endif
};

constexpr Variant<MoveRows> kMove[] = {
    {Isa::reference, move_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, move_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, move_rows_avx512},
#endif
};

void check(const char* op, const AdamTable& t) {
  for (const RowStore* store : {&t.value, &t.mean, &t.square}) {
    MOTE_CHECK(store->type != Type::f16, op, ": tables and moments are float32 or bfloat16");
    const bool one = store == &t.square && t.row_square;
    MOTE_CHECK(store->stride >= (one ? 1 : t.columns), op, ": rows of ", t.columns, " are ",
               store->stride, " apart");
  }
  MOTE_CHECK(t.square.type == (t.row_square ? Type::f32 : t.mean.type), op,
             ": the moments have two types");
}

// Pieces of the rows on all threads; each row is one piece's alone.
template <class Args, class Cut>
void in_pieces(const Args& args, const Variant<Args>& variant, const Run& run, const Cut& cut) {
  constexpr Index kRows = 64;
  const Index rows = args.row_R.size(0);
  parallel_for(*run.executor, (rows + kRows - 1) / kRows, [&](Index i, int) {
    const Index first = i * kRows;
    Args part = args;
    part.row_R.data += first;
    part.row_R.sizes[0] = std::min(kRows, rows - first);
    cut(part, first);
    variant.call(part, run);
  });
}

}  // namespace

std::span<const Variant<AdamRows>> adam_rows_variants() {
  return kAdam;
}
std::span<const Variant<MoveRows>> move_rows_variants() {
  return kMove;
}

void adam_rows(const AdamRows& args, const Run& run) {
  check("adam_rows", args.table);
  MOTE_CHECK(
      args.grad_RD.size(0) == args.row_R.size(0) && args.grad_RD.size(1) == args.table.columns,
      "adam_rows: gradients of ", args.grad_RD.size(0), " x ", args.grad_RD.size(1), " for ",
      args.row_R.size(0), " rows of ", args.table.columns);
  in_pieces(args, select(adam_rows_variants(), run), run, [&](AdamRows& part, Index first) {
    part.grad_RD.data = args.grad_RD.row(first);
    part.grad_RD.sizes[0] = part.row_R.size(0);
    if (args.own_steps) part.step += first;
  });
}

void move_rows(const MoveRows& args, const Run& run) {
  check("move_rows", args.table);
  in_pieces(args, select(move_rows_variants(), run), run,
            [&](MoveRows& part, Index first) { part.move += first; });
}

}  // namespace mote::kernels
