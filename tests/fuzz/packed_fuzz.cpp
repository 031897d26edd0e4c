// Any bytes as packed matrices: refused by validate(), or every variant of every product runs and
// agrees with the reference.
//
// The input is read front to back: the coder and the shape, then changes to the parts of an encoded
// stack (parts of random bytes would nearly never be valid): which part, where, which bits.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "kernels/packed/coder.h"

namespace {

using namespace mote::kernels;

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t next() { return left_ == 0 ? 0 : (--left_, *data_++); }
  std::size_t below(std::size_t bound) {
    std::size_t value = 0;
    for (int i = 0; i < 3; ++i) value = value << 8 | next();
    return bound == 0 ? 0 : value % bound;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

struct Problem {
  Index experts, rows, columns;
  std::vector<std::int32_t> ends;
  std::vector<float> x;

  Problem(Bytes& bytes)
      : experts(static_cast<Index>(bytes.below(4))),
        rows(static_cast<Index>(bytes.below(40))),
        columns(static_cast<Index>(bytes.below(80))) {
    std::int32_t end = 0;
    for (Index e = 0; e < experts; ++e)
      ends.push_back(end += static_cast<std::int32_t>(bytes.below(20)));
    for (Index i = 0; i < tokens() * std::max(rows, columns); ++i)
      x.push_back(static_cast<float>(i * 7 % 23 - 11) / 8);
  }
  Index tokens() const { return ends.empty() ? 0 : ends.back(); }
};

bool agree(const std::vector<float>& got, const std::vector<float>& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    // Levels may be anything finite, so that sums overflow; then there is nothing to compare.
    if (!std::isfinite(got[i]) || !std::isfinite(want[i])) continue;
    double largest = 1e-30;
    for (float each : want)
      if (std::isfinite(each)) largest = std::max(largest, std::abs(static_cast<double>(each)));
    if (!(std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i])) <= 1e-2 * largest))
      return false;
  }
  return true;
}

void run_variants(const PackedMatrices& w, Variants variants, const Problem& p, Index in,
                  Index out) {
  std::vector<float> y(static_cast<std::size_t>(p.tokens() * out)), want;
  for (const Variant<PackedProduct>& variant : variants) {
    if (!supported(variant.isa)) continue;
    variant.call({w, view(p.x.data(), p.tokens(), in), view(p.ends.data(), p.experts),
                  view(y.data(), p.tokens(), out)},
                 {});
    if (want.empty()) want = y;
    if (!agree(y, want)) std::abort();
  }
}

PackedStack encoded(const Coder& coder, const Problem& p) {
  const bool ternary = coder.grid == Grid::ternary;
  std::vector<std::uint8_t> symbols;
  for (Index i = 0; i < p.experts * p.rows * p.columns; ++i)
    symbols.push_back(static_cast<std::uint8_t>(i * i % 11 % (ternary ? 3 : 4)));
  std::vector<float> levels;
  for (Index i = 0; i < p.experts * p.rows; ++i) {
    levels.push_back(ternary ? -1.0f : 0.5f);
    levels.push_back(ternary ? 0.5f : static_cast<float>(i % 4));
  }
  return coder.encode(view<const std::uint8_t>(symbols.data(), p.experts, p.rows, p.columns),
                      view<const float>(levels.data(), p.experts, p.rows, 2), mote::serial());
}

void run(Bytes& bytes) {
  const Coder& coder = *coders()[bytes.next() % coders().size()];
  const Problem p(bytes);
  PackedStack stack = encoded(coder, p);
  while (!bytes.empty()) {
    const std::size_t part = bytes.next() % coder.parts.size();
    const std::size_t at = bytes.below(1 << 16);
    const auto how = static_cast<std::byte>(bytes.next());
    const auto size = static_cast<std::size_t>(stack.view().parts[part].count *
                                               bytes_per_element(coder.parts[part].type));
    if (size > 0) stack.part<std::byte>(part)[at % size] ^= how;
  }
  const PackedMatrices w = stack.view();
  validate(w, "fuzzed");
  std::vector<float> row(static_cast<std::size_t>(p.columns));
  for (Index at = 0; at < p.experts * p.rows; ++at)
    coder.decode_row(w, at / p.rows, at % p.rows, row.data());
  run_variants(w, coder.product(), p, p.columns, p.rows);
  if (coder.product_int8) run_variants(w, coder.product_int8(), p, p.columns, p.rows);
  run_variants(w, coder.product_to_input(), p, p.rows, p.columns);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  try {
    run(bytes);
  } catch (const mote::Error&) {
  }
  return 0;
}
