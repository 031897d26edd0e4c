// The kernels' quantisation against the reference fixtures: every description of a kind known here,
// wherever it lies, is read with its shapes and options from the files themselves.
#include <gtest/gtest.h>

#include <numeric>

#include "base/fields.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_source.h"
#include "kernels/packed/q16/q16.h"
#include "kernels/packed/rounding/rounding_cases.h"
#include "tests/support/fixture_kinds.h"

namespace mote::checkpoint {
namespace {

using kernels::Grid;
using kernels::Index;
using kernels::view;

struct Fixture {
  fs::path path;  // of the description; its tensors lie beside it
  Json description;
  SafetensorsFile tensors() const {
    return SafetensorsFile(fs::path(path).replace_extension("safetensors"));
  }
};

std::vector<Fixture> fixtures(const std::string& kind) {
  std::vector<Fixture> found;
  for (const fs::path& path : test::fixtures_of_kind(kind))
    found.push_back({path, test::read_json(path)});
  return found;
}

// One problem: weights, inputs, and what the description asks for.
class GptqProblem {
 public:
  explicit GptqProblem(const UsedTensors& file)
      : file_(file),
        rows_(file_.at("w").shape.at(0)),
        columns_(file_.at("w").shape.at(1)),
        w_(file_.at("w").copied<float>()),
        x_(file_.at("x").copied<float>()),
        h_(file_.at("hessian_damped").copied<double>()) {}

  const UsedTensors& file() const { return file_; }
  const kernels::Doubles& h() const { return h_; }
  Index columns() const { return columns_; }
  const std::vector<float>& x() const { return x_; }
  Index samples() const { return file_.at("x").shape.at(0); }

  std::vector<float> levels(Grid grid) const {
    std::vector<float> levels(static_cast<std::size_t>(2 * rows_));
    kernels::row_levels({weights(w_), grid, false, view(levels.data(), Index{1}, rows_, Index{2})},
                        {});
    return levels;
  }

  std::vector<std::uint8_t> nearest(Grid grid) const {
    std::vector<float> levels = this->levels(grid);
    std::vector<std::uint8_t> symbols(w_.size());
    kernels::round_to_nearest({weights(w_), grid, view(levels.data(), Index{1}, rows_, Index{2}),
                               view(symbols.data(), Index{1}, rows_, columns_)},
                              {});
    return symbols;
  }

  struct Result {
    std::vector<std::uint8_t> symbols;
    std::vector<float> objective;
  };
  // With columns taken in the order given; weights of `dead` inputs are set to 0 and their
  // diagonal to 1 before damping.
  Result gptq(Grid grid, const std::vector<std::size_t>& order, bool zero_dead, double share,
              kernels::Isa ceiling) const {
    const auto n = static_cast<std::size_t>(columns_);
    kernels::Doubles h = h_;
    std::vector<float> w = w_;
    if (zero_dead) clear_dead_inputs(h, w, share);
    kernels::Doubles ordered_h(h.size());
    std::vector<float> ordered_w(w.size());
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) ordered_h[i * n + j] = h[order[i] * n + order[j]];
      for (std::size_t r = 0; r < w.size(); r += n) ordered_w[r + i] = w[r + order[i]];
    }
    const std::vector<float> u =
        kernels::to_floats(kernels::factor_of_inverse(ordered_h, columns_));
    std::vector<float> levels = this->levels(grid);  // of the row as it was
    std::vector<std::uint8_t> symbols(w.size());
    Result result{std::vector<std::uint8_t>(w.size()),
                  std::vector<float>(static_cast<std::size_t>(rows_))};
    std::vector<std::byte> scratch(static_cast<std::size_t>(kernels::gptq_scratch(columns_, 1)));
    kernels::gptq({weights(ordered_w), view(u.data(), Index{1}, columns_, columns_), grid,
                   view(levels.data(), Index{1}, rows_, Index{2}),
                   view(symbols.data(), Index{1}, rows_, columns_),
                   view(result.objective.data(), Index{1}, rows_),
                   view(scratch.data(), static_cast<Index>(scratch.size()))},
                  {.ceiling = ceiling});
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t r = 0; r < w.size(); r += n) result.symbols[r + order[i]] = symbols[r + i];
    return result;
  }

  // ||(W - Q) X'||^2 over all rows.
  double output_error(Grid grid, const std::vector<std::uint8_t>& symbols) const {
    const std::vector<float> levels = this->levels(grid);
    const auto n = static_cast<std::size_t>(columns_);
    double sum = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(rows_); ++r)
      for (std::size_t s = 0; s < x_.size(); s += n) {
        double y = 0;
        for (std::size_t c = 0; c < n; ++c) {
          const float q = kernels::grid_value(grid, levels.data() + 2 * r, symbols[r * n + c]);
          y += (static_cast<double>(w_[r * n + c]) - static_cast<double>(q)) *
               static_cast<double>(x_[s + c]);
        }
        sum += y * y;
      }
    return sum;
  }

 private:
  kernels::View<const float, 3> weights(const std::vector<float>& w) const {
    return view(w.data(), Index{1}, rows_, columns_);
  }
  void clear_dead_inputs(kernels::Doubles& h, std::vector<float>& w, double share) const {
    const auto n = static_cast<std::size_t>(columns_);
    std::vector<std::size_t> dead;
    for (std::size_t c = 0; c < n; ++c) {
      bool used = false;
      for (std::size_t s = c; s < x_.size(); s += n) used = used || x_[s] != 0;
      if (!used) dead.push_back(c);
    }
    h = kernels::damped_moments(x_, columns_, 0, static_cast<double>(samples()) / 2);
    double trace = 0;
    for (std::size_t c : dead) h[c * (n + 1)] = 1;
    for (std::size_t c = 0; c < n; ++c) trace += h[c * (n + 1)];
    const double damp = std::max(share * trace / static_cast<double>(n), 1e-6);
    for (std::size_t c = 0; c < n; ++c) h[c * (n + 1)] += damp;
    for (std::size_t c : dead)
      for (std::size_t r = 0; r < w.size(); r += n) w[r + c] = 0;
  }

  const UsedTensors& file_;
  Index rows_, columns_;
  std::vector<float> w_, x_;
  kernels::Doubles h_;
};

std::vector<std::size_t> column_order(const GptqProblem& problem, bool by_diagonal) {
  const auto n = static_cast<std::size_t>(problem.columns());
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (by_diagonal)
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return problem.h()[a * (n + 1)] > problem.h()[b * (n + 1)];
    });
  return order;
}

// The weight closest to a boundary decides how many symbols float32 may change: none, where it is
// over 1e-4 of the row's range away, else some in a thousand, each of which changes what follows.
void expect_symbols(const std::vector<std::uint8_t>& got, const std::vector<std::uint8_t>& want,
                    double margin, const std::string& what) {
  std::size_t differing = 0;
  for (std::size_t i = 0; i < want.size(); ++i) differing += got[i] != want[i];
  EXPECT_LE(differing, margin > 1e-4 ? 0 : want.size() / 100) << what;
}

void expect_relative(double got, double want, double tolerance, const std::string& what) {
  EXPECT_NEAR(got, want, tolerance * std::abs(want)) << what;
}

void check_variant(const GptqProblem& problem, const Fixture& fixture, const std::string& grid_name,
                   const std::string& method, kernels::Isa ceiling) {
  const std::string key = grid_name + "." + method;
  const std::string what = fixture.path.filename().string() + " " + key + " " + name(ceiling);
  ASSERT_TRUE(grid_name == "ternary" || grid_name == "two_bit") << what << ": unknown grid";
  ASSERT_TRUE(method == "rtn" || method == "gptq" || method == "gptq_actorder" ||
              method == "gptq_zero_dead")
      << what << ": unknown method";
  const Grid grid = grid_name == "ternary" ? Grid::ternary : Grid::two_bit;
  const Json& expected = fixture.description.at("results").at(key);
  const auto want = problem.file().at(key + ".symbols").copied<std::uint8_t>();
  const double margin = fixture.description.value("min_rounding_margin_relative_to_range", 0.0);
  if (method == "rtn") {
    const auto got = problem.nearest(grid);
    expect_symbols(got, want, margin, what);
    expect_relative(problem.output_error(grid, got), expected.at("sum_sq_output_error"), 1e-3,
                    what);
    return;
  }
  const auto got = problem.gptq(grid, column_order(problem, method == "gptq_actorder"),
                                method == "gptq_zero_dead",
                                fixture.description.at("config").at("damp"), ceiling);
  expect_symbols(got.symbols, want, margin, what);
  const auto objective = problem.file().at(key + ".row_objective").copied<double>();
  const double sum = std::accumulate(objective.begin(), objective.end(), 0.0);
  const double got_sum = std::accumulate(got.objective.begin(), got.objective.end(), 0.0);
  expect_relative(got_sum, sum, 1e-3, what);
  expect_relative(got_sum / 2, expected.at("sum_e2_over_2"), 1e-3, what);
  for (std::size_t r = 0; r < objective.size(); ++r)
    if (margin > 1e-4) expect_relative(got.objective[r], objective[r], 1e-3, what);
  // Weights of dead inputs are no part of the output.
  expect_relative(problem.output_error(grid, got.symbols), expected.at("sum_sq_output_error"), 1e-3,
                  what);
}

void check_levels_and_moments(const GptqProblem& problem, const Fixture& fixture) {
  const auto low = problem.file().at("row_min").copied<float>();
  const auto high = problem.file().at("row_max").copied<float>();
  const std::vector<float> levels = problem.levels(Grid::ternary);
  for (std::size_t r = 0; r < low.size(); ++r) {
    EXPECT_EQ(levels[2 * r], low[r]);
    EXPECT_EQ(levels[2 * r + 1], high[r]);
  }
  const kernels::Doubles h = kernels::damped_moments(problem.x(), problem.columns(),
                                                     fixture.description.at("config").at("damp"),
                                                     static_cast<double>(problem.samples()) / 2);
  for (std::size_t i = 0; i < h.size(); ++i)
    EXPECT_NEAR(h[i], problem.h()[i], 1e-9 * std::abs(h[0])) << i;
}

TEST(FixturesGptq, LevelsMomentsAndEveryVariantAreThoseOfTheOriginal) {
  const std::vector<Fixture> found = fixtures("quant:gptq");
  if (found.empty()) GTEST_SKIP() << "no gptq fixtures at " << test::fixtures_folder();
  for (const Fixture& fixture : found) {
    const SafetensorsFile file = fixture.tensors();
    const UsedTensors used(file);
    const GptqProblem problem(used);
    check_levels_and_moments(problem, fixture);
    for (const auto& [key, unused] : fixture.description.at("results").items()) {
      const std::size_t dot = key.find('.');
      for (const auto& variant : kernels::gptq_variants())
        if (kernels::supported(variant.isa))
          check_variant(problem, fixture, key.substr(0, dot), key.substr(dot + 1), variant.isa);
    }
    EXPECT_NO_THROW(used.check_all_used()) << "a tensor that no line above compares";
  }
}

void check_dictionary(const TensorSource& file) {
  const auto table = file.at("table").copied<std::uint32_t>();
  ASSERT_EQ(table.size(), 2u * static_cast<std::size_t>(kernels::kQ16Entries));
  for (std::size_t k = 0; k < table.size() / 2; ++k) {
    const std::uint32_t entry = kernels::q16_entries()[k];
    std::uint32_t words[2] = {entry >> 25, entry >> 25};
    for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8) {
      const std::uint32_t at = (slots & 0xff) >> 2;
      words[at / 14] |= (slots & 3) << (4 + 2 * (at % 14));
    }
    ASSERT_EQ(words[0], table[2 * k]) << k;
    ASSERT_EQ(words[1], table[2 * k + 1]) << k;
  }
}

void check_matrices(const TensorSource& file, const Json& description) {
  for (const auto& [name, expected] : description.at("cases").items()) {
    const Tensor& stored = file.at(name + ".trits");
    const auto trits = stored.copied<std::uint8_t>();
    const Index rows = stored.shape.at(0), columns = stored.shape.at(1);
    std::vector<float> extremes;
    for (Index r = 0; r < rows; ++r)
      for (float level : {-1.0f, 1.0f}) extremes.push_back(level);
    const kernels::PackedStack made =
        kernels::kQ16.encode(view(trits.data(), Index{1}, rows, columns),
                             view<const float>(extremes.data(), 1, rows, 2), serial());
    const kernels::PackedMatrices stack = made.view();
    const std::span made_codes(stack.part<std::uint16_t>(kernels::kQ16Codes),
                               static_cast<std::size_t>(stack.parts[kernels::kQ16Codes].count));
    const auto codes = file.at(name + ".w_comp").copied<std::int16_t>();
    EXPECT_EQ(std::vector(made_codes.begin(), made_codes.end()),
              std::vector<std::uint16_t>(codes.begin(), codes.end()))
        << name;
    EXPECT_EQ(made_codes.size(), expected.at("codewords").get<std::size_t>()) << name;
    const kernels::Q16Matrix w = kernels::q16_expert(stack, 0);
    const auto starts = file.at(name + ".row_off").copied<std::int32_t>();
    std::vector<std::uint8_t> row(static_cast<std::size_t>(columns));
    for (Index r = 0; r < rows; ++r) {
      EXPECT_EQ(w.row_begin(r), starts[static_cast<std::size_t>(r)]) << name;
      EXPECT_EQ(w.row_end(r), starts[static_cast<std::size_t>(r) + 1]) << name;
      kernels::q16_decode_row(w, r, row.data());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), trits.begin() + r * columns)) << name;
    }
  }
}

TEST(FixturesQ16, DictionaryAndMatricesAreThoseOfTheOriginal) {
  const std::vector<Fixture> found = fixtures("quant:q16");
  if (found.empty()) GTEST_SKIP() << "no codec fixtures at " << test::fixtures_folder();
  for (const Fixture& fixture : found) {
    const SafetensorsFile file = fixture.tensors();
    const UsedTensors used(file);
    check_dictionary(used);
    check_matrices(used, fixture.description);
    EXPECT_NO_THROW(used.check_all_used()) << "a tensor that no line above compares";
  }
}

}  // namespace
}  // namespace mote::checkpoint
