// Any bytes as a packed matrix: refused by validate(), or every variant of its product runs and
// agrees with the reference.
//
// The input is read front to back: the kind of matrix and its shape, then the contents of the
// arrays. A q16 matrix of random bytes is nearly never valid, so that kind starts from an encoded
// matrix and takes the bytes as changes to its arrays.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "kernels/packed/q16_product/q16_product.h"
#include "kernels/packed/q16_product_a8/q16_product_a8.h"
#include "kernels/packed/two_bit_product/two_bit_product.h"

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
    for (Index i = 0; i < tokens() * columns; ++i)
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

// Runs all variants on `args`, whose results are the floats of `y`.
template <class Args>
void run_variants(Args args, std::span<const Variant<Args>> variants, std::vector<float>& y) {
  std::vector<float> want;
  for (const Variant<Args>& variant : variants) {
    if (!supported(variant.isa)) continue;
    variant.call(args, {});
    if (want.empty()) want = y;
    if (!agree(y, want)) std::abort();
  }
}

template <class T>
void change(std::vector<T>& array, std::size_t at, std::uint8_t how) {
  if (!array.empty()) array[at % array.size()] = static_cast<T>(array[at % array.size()] ^ how);
}

void run_q16(Bytes& bytes) {
  const Problem p(bytes);
  std::vector<std::uint8_t> trits;
  for (Index i = 0; i < p.experts * p.rows * p.columns; ++i)
    trits.push_back(static_cast<std::uint8_t>(i * i % 11 % 3));
  std::vector<Bf16> levels;
  for (Index i = 0; i < p.experts * p.rows; ++i) {
    levels.push_back(to_bf16(-1));
    levels.push_back(to_bf16(0.5f));
  }
  Q16Encoded w = q16_encode(view<const std::uint8_t>(trits.data(), p.experts, p.rows, p.columns),
                            view<const Bf16>(levels.data(), p.experts, p.rows, 2));
  while (!bytes.empty()) {
    const std::uint8_t which = bytes.next();
    const std::size_t at = bytes.below(1 << 16);
    const std::uint8_t how = bytes.next();
    if (which % 5 == 0) change(w.codes, at, how);
    if (which % 5 == 1) change(w.offsets, at, how);
    if (which % 5 == 2) change(w.row_base, at, how);
    if (which % 5 == 3) change(w.row_start, at, how);
    if (which % 5 == 4) change(w.levels, at, how);
  }
  validate(w.view(), "fuzzed");
  std::vector<float> y(static_cast<std::size_t>(p.tokens() * p.rows));
  std::vector<float> scratch(static_cast<std::size_t>(q16_scratch(p.tokens(), p.columns)));
  const auto x_RI = view(p.x.data(), p.tokens(), p.columns);
  const auto ends_E = view(p.ends.data(), p.experts);
  const auto y_RO = view(y.data(), p.tokens(), p.rows);
  run_variants(Q16Product{w.view(), x_RI, ends_E, y_RO,
                          view(scratch.data(), static_cast<Index>(scratch.size()))},
               q16_product_variants(), y);
  std::vector<std::byte> room(static_cast<std::size_t>(q16_a8_scratch(p.tokens(), p.columns)));
  run_variants(Q16ProductA8{w.view(), x_RI, ends_E, y_RO,
                            view(room.data(), static_cast<Index>(room.size()))},
               q16_product_a8_variants(), y);
}

void run_two_bit(Bytes& bytes) {
  const Problem p(bytes);
  const Index rows = p.experts * p.rows;
  std::vector<Bf16> scales;
  std::vector<std::uint8_t> zeros, codes;
  for (Index r = 0; r < rows; ++r) {
    const int high = bytes.next(), low = bytes.next();
    scales.push_back(static_cast<Bf16>(high << 8 | low));
    zeros.push_back(bytes.next());
  }
  for (Index i = 0; i < rows * two_bit_bytes(p.columns); ++i) codes.push_back(bytes.next());
  const TwoBitExperts w{
      p.columns,
      view<const std::uint8_t>(codes.data(), p.experts, p.rows, two_bit_bytes(p.columns)),
      view<const Bf16>(scales.data(), p.experts, p.rows),
      view<const std::uint8_t>(zeros.data(), p.experts, p.rows)};
  validate(w, "fuzzed");
  std::vector<float> y(static_cast<std::size_t>(p.tokens() * p.rows));
  run_variants(TwoBitProduct{w, view(p.x.data(), p.tokens(), p.columns),
                             view(p.ends.data(), p.experts), view(y.data(), p.tokens(), p.rows)},
               two_bit_product_variants(), y);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  try {
    if (bytes.next() % 2 == 0) {
      run_q16(bytes);
    } else {
      run_two_bit(bytes);
    }
  } catch (const mote::Error&) {
  }
  return 0;
}
