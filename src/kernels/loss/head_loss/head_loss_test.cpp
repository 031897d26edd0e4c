#include "kernels/loss/head_loss/head_loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"

namespace mote::kernels {
namespace {

struct HeadCase {
  Index rows, classes, dim;
  bool bias = true;
};

struct Data {
  HeadCase shape;
  std::vector<float> x, weight, bias;
  std::vector<std::int64_t> target;
  float scale = 0.125f;

  explicit Data(const HeadCase& c)
      : shape(c),
        x(normals(c.rows * c.dim, 1)),
        weight(normals(c.classes * c.dim, 2, 0.3)),
        bias(normals(c.classes, 3)) {
    const Rng rng(37, Purpose::test);
    // Every fifth row has no target.
    for (Index n = 0; n < c.rows; ++n)
      target.push_back(
          n % 5 == 4 ? -1
                     : static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(c.classes),
                                                           static_cast<std::uint64_t>(n))));
  }
};

struct Result {
  std::vector<float> loss, dx, dweight, dbias;
};

HeadLoss evaluation(const Data& data, float* loss) {
  const HeadCase& s = data.shape;
  HeadLoss args;
  args.x_ND = view<const float>(data.x.data(), s.rows, s.dim);
  args.weight_VD = view<const float>(data.weight.data(), s.classes, s.dim);
  args.bias_V = s.bias ? data.bias.data() : nullptr;
  args.target_N = data.target.data();
  args.loss_N = loss;
  args.scale = data.scale;
  return args;
}

Result run_kernel(const Data& data, bool gradient, const Run& run = {},
                  Precision precision = Precision::f32) {
  const HeadCase& s = data.shape;
  Guarded<float> loss(s.rows), dx(s.rows * s.dim), dweight(s.classes * s.dim), dbias(s.classes);
  for (Guarded<float>* each : {&loss, &dx, &dweight, &dbias})
    std::fill_n(each->data(), each->size(), NAN);
  HeadLoss args = evaluation(data, loss.data());
  if (gradient) {
    args.dx_ND = view(dx.data(), s.rows, s.dim);
    args.dweight_VD = view(dweight.data(), s.classes, s.dim);
    args.dbias_V = s.bias ? dbias.data() : nullptr;
  }
  args.precision = precision;
  head_loss(args, run);
  return {loss.values(), dx.values(), dweight.values(), dbias.values()};
}

// The definition in double; `sizes` sums the sizes of all terms, to which errors are relative.
struct Oracle {
  Result want, sizes;
  double largest = 0;  // of the sums of the sizes of a logit's terms

  explicit Oracle(const Data& data) {
    const HeadCase& s = data.shape;
    const auto cells = [](Index count) {
      return std::vector<double>(static_cast<std::size_t>(count));
    };
    std::vector<double> dx = cells(s.rows * s.dim), dw = cells(s.classes * s.dim),
                        db = cells(s.classes), dx_size = dx, dw_size = dw, db_size = db;
    std::vector<double> logits = cells(s.classes);
    for (Index n = 0; n < s.rows; ++n) {
      double sum = 0;
      const auto at = [&](const std::vector<float>& m, Index i, Index d) {
        return static_cast<double>(m[static_cast<std::size_t>(i * s.dim + d)]);
      };
      for (Index v = 0; v < s.classes; ++v) {
        double l = s.bias ? static_cast<double>(data.bias[static_cast<std::size_t>(v)]) : 0;
        double size = std::abs(l);
        for (Index d = 0; d < s.dim; ++d) {
          l += at(data.x, n, d) * at(data.weight, v, d);
          size += std::abs(at(data.x, n, d) * at(data.weight, v, d));
        }
        largest = std::max(largest, size);
        sum += std::exp(logits[static_cast<std::size_t>(v)] = l);
      }
      const std::int64_t target = data.target[static_cast<std::size_t>(n)];
      want.loss.push_back(
          target < 0
              ? 0
              : static_cast<float>(std::log(sum) - logits[static_cast<std::size_t>(target)]));
      for (Index v = 0; v < s.classes && target >= 0; ++v) {
        const double p = std::exp(logits[static_cast<std::size_t>(v)]) / sum;
        const double scale = static_cast<double>(data.scale);
        const double g = scale * (p - (v == target ? 1 : 0));
        const double size = scale * (p + (v == target ? 1 : 0));
        db[static_cast<std::size_t>(v)] += g, db_size[static_cast<std::size_t>(v)] += size;
        for (Index d = 0; d < s.dim; ++d) {
          const auto ix = static_cast<std::size_t>(n * s.dim + d),
                     iw = static_cast<std::size_t>(v * s.dim + d);
          dx[ix] += g * at(data.weight, v, d);
          dx_size[ix] += size * std::abs(at(data.weight, v, d));
          dw[iw] += g * at(data.x, n, d);
          dw_size[iw] += size * std::abs(at(data.x, n, d));
        }
      }
    }
    const auto floats = [](const std::vector<double>& x) {
      return std::vector<float>(x.begin(), x.end());
    };
    want.dx = floats(dx), want.dweight = floats(dw), want.dbias = floats(db);
    sizes.dx = floats(dx_size), sizes.dweight = floats(dw_size), sizes.dbias = floats(db_size);
    sizes.loss.assign(want.loss.size(), 1);
  }
};

class HeadLossCases : public ::testing::TestWithParam<HeadCase> {
 protected:
  // Losses to a tolerance of their own, gradients to one for sums.
  static void expect_within(const Result& got, const Oracle& oracle, double losses, double sums,
                            Isa isa) {
    const Result &want = oracle.want, &sizes = oracle.sizes;
    EXPECT_LE(worst_error(got.loss, want.loss, sizes.loss, losses), 1) << name(isa);
    EXPECT_LE(worst_error(got.dx, want.dx, sizes.dx, sums), 1) << name(isa);
    EXPECT_LE(worst_error(got.dweight, want.dweight, sizes.dweight, sums), 1) << name(isa);
    if (!GetParam().bias) return;
    EXPECT_LE(worst_error(got.dbias, want.dbias, sizes.dbias, sums), 1) << name(isa);
  }
};

TEST_P(HeadLossCases, MatchesTheDefinition) {
  const Data data(GetParam());
  const HeadCase& s = data.shape;
  const Oracle oracle(data);
  for (const Isa isa : all_isas()) {
    if (!supported(isa)) continue;
    const Result got = run_kernel(data, true, {isa});
    // Two logits are off by their sums' roundings, probabilities by what exponentials add; the
    // products that follow sum over classes or rows.
    const double p = (2 * static_cast<double>(s.dim + 2) * oracle.largest +
                      static_cast<double>(s.classes) + 16) *
                     kRounding;
    const double sums = p + static_cast<double>(std::max(s.classes, s.rows) + 4) * kRounding;
    expect_within(got, oracle, p, sums, isa);
  }
}

TEST_P(HeadLossCases, HasTheSameBitsForAnyThreads) {
  const Data data(GetParam());
  const ThreadPool three(3);
  const Result a = run_kernel(data, true), b = run_kernel(data, true, {Isa::amx, &three});
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.dx, b.dx);
  EXPECT_EQ(a.dweight, b.dweight);
  if (!data.shape.bias) return;
  EXPECT_EQ(a.dbias, b.dbias);
}

TEST_P(HeadLossCases, GradientsAskedForAloneAreThoseOfAll) {
  const Data data(GetParam());
  const HeadCase& s = data.shape;
  const Result all = run_kernel(data, true);
  const auto alone = [&](Index size, const auto& ask) {
    std::vector<float> loss(data.target.size()), made(static_cast<std::size_t>(size), NAN);
    HeadLoss args = evaluation(data, loss.data());
    ask(args, made.data());
    head_loss(args, {});
    EXPECT_EQ(loss, all.loss);
    return made;
  };
  EXPECT_EQ(
      alone(s.rows * s.dim, [&](HeadLoss& a, float* to) { a.dx_ND = view(to, s.rows, s.dim); }),
      all.dx);
  EXPECT_EQ(alone(s.classes * s.dim,
                  [&](HeadLoss& a, float* to) { a.dweight_VD = view(to, s.classes, s.dim); }),
            all.dweight);
  if (!s.bias) return;
  EXPECT_EQ(alone(s.classes, [](HeadLoss& a, float* to) { a.dbias_V = to; }), all.dbias);
}

// Both operands of each product are rounded, by 2^-8 of a term at most; that moves logits, and with
// them the probabilities, by as much of their sums.
TEST_P(HeadLossCases, InBf16IsTheDefinitionToTheRoundingOfBothOperands) {
  const Data data(GetParam());
  const HeadCase& s = data.shape;
  const Oracle oracle(data);
  constexpr double kOperands = 1.01 * 2 * 0x1p-8;
  for (const Isa isa : all_isas()) {
    if (!supported(isa)) continue;
    const Result got = run_kernel(data, true, {isa}, Precision::bf16);
    EXPECT_NE(got.loss, s.rows ? run_kernel(data, true, {isa}).loss : std::vector<float>{NAN});
    const double p = 2 * oracle.largest * (kOperands + static_cast<double>(s.dim + 2) * kRounding) +
                     (static_cast<double>(s.classes) + 16) * kRounding;
    const double sums =
        p + kOperands + static_cast<double>(std::max(s.classes, s.rows) + 4) * kRounding;
    expect_within(got, oracle, p, sums, isa);
  }
}

TEST_P(HeadLossCases, HasTheSameLossWithoutGradient) {
  const Data data(GetParam());
  EXPECT_EQ(run_kernel(data, false).loss, run_kernel(data, true).loss);
}

// Two whole chunks of rows and a rest, one row, none, more classes than a tile.
INSTANTIATE_TEST_SUITE_P(All, HeadLossCases,
                         ::testing::Values(HeadCase{2 * kHeadRows + 31, 67, 24},
                                           HeadCase{1, 9, 7, false}, HeadCase{0, 5, 4},
                                           HeadCase{18, 1100, 17}),
                         [](const auto& each) {
                           return word("rows", each.param.rows) +
                                  word("_classes", each.param.classes) +
                                  word("_dim", each.param.dim);
                         });

TEST(HeadLoss, RefusesATargetBeyondTheClasses) {
  Data data({3, 5, 4});
  data.target[1] = 5;
  EXPECT_THROW(run_kernel(data, false), Error);
}

}  // namespace
}  // namespace mote::kernels
