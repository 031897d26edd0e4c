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

// The matrices unpacked, and of each row the largest size of a value that its levels have.
struct Unpacked {
  std::vector<float> values_ERC;
  std::vector<double> sizes_ER;

  explicit Unpacked(const PackedMatrices& w) {
    const StackShape& s = w.shape;
    values_ERC.resize(static_cast<std::size_t>(s.experts * s.rows * s.columns));
    for (Index at = 0; at < s.experts * s.rows; ++at) {
      w.coder->decode_row(w, at / s.rows, at % s.rows, values_ERC.data() + at * s.columns);
      sizes_ER.push_back(size_of_levels(w, at));
    }
  }
  static double size_of_levels(const PackedMatrices& w, Index row) {
    for (std::size_t i = 0; i < w.coder->parts.size(); ++i) {
      const auto* bits = static_cast<const Bf16*>(w.parts[i].data);
      const std::string_view part = w.coder->parts[i].name;
      if (part == "scales") return 3 * std::abs(static_cast<double>(from_bf16(bits[row])));
      if (part == "levels")
        return static_cast<double>(
            std::max(std::abs(from_bf16(bits[2 * row])), std::abs(from_bf16(bits[2 * row + 1]))));
    }
    std::abort();
  }
};

// |got - want| <= 1e-5 sum of (largest level of the weight's row) |x|, the bound of the unit tests
// with sums by level in the place of their terms (8-bit activations: of the largest |x|).
bool agree(const PackedMatrices& w, const Unpacked& unpacked, const Problem& p, bool to_input,
           bool int8, const std::vector<float>& got, const std::vector<float>& want) {
  const StackShape& s = w.shape;
  const Index in = to_input ? s.rows : s.columns, out = to_input ? s.columns : s.rows;
  for (Index r = 0, e = 0; r < p.tokens(); ++r) {
    while (r >= p.ends[static_cast<std::size_t>(e)]) ++e;
    const float* x = p.x.data() + r * in;
    double largest = 0;
    for (Index i = 0; i < in; ++i) largest = std::max(largest, std::abs(static_cast<double>(x[i])));
    for (Index o = 0; o < out; ++o) {
      double size = 0;
      for (Index i = 0; i < in; ++i)
        size += unpacked.sizes_ER[static_cast<std::size_t>(e * s.rows + (to_input ? i : o))] *
                (int8 ? largest : std::abs(static_cast<double>(x[i])));
      const auto at = static_cast<std::size_t>(r * out + o);
      // Levels may be anything finite, so that weights or sums overflow; then there is nothing to
      // compare.
      if (size > 1e37 || !std::isfinite(want[at])) continue;
      if (!(std::abs(static_cast<double>(got[at]) - static_cast<double>(want[at])) <=
            1e-5 * size + 1e-37))
        return false;
    }
  }
  return true;
}

// The reference product against the unpacked matrix, in double.
std::vector<float> product_of(const PackedMatrices& w, const Unpacked& unpacked, const Problem& p,
                              bool to_input) {
  const StackShape& s = w.shape;
  const Index in = to_input ? s.rows : s.columns, out = to_input ? s.columns : s.rows;
  std::vector<float> y;
  for (Index r = 0, e = 0; r < p.tokens(); ++r) {
    while (r >= p.ends[static_cast<std::size_t>(e)]) ++e;
    for (Index o = 0; o < out; ++o) {
      double sum = 0;
      for (Index i = 0; i < in; ++i) {
        const Index at = (e * s.rows + (to_input ? i : o)) * s.columns + (to_input ? o : i);
        sum += static_cast<double>(unpacked.values_ERC[static_cast<std::size_t>(at)]) *
               static_cast<double>(p.x[static_cast<std::size_t>(r * in + i)]);
      }
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

enum class Kind { product, int8, to_input };

void run_variants(const PackedMatrices& w, const Unpacked& unpacked, Variants variants,
                  const Problem& p, Kind kind) {
  const bool to_input = kind == Kind::to_input;
  const Index in = to_input ? w.shape.rows : w.shape.columns,
              out = to_input ? w.shape.columns : w.shape.rows;
  std::vector<float> want;
  if (kind != Kind::int8) want = product_of(w, unpacked, p, to_input);
  for (const Variant<PackedProduct>& variant : variants) {
    if (!supported(variant.isa)) continue;
    std::vector<float> y(static_cast<std::size_t>(p.tokens() * out), NAN);
    variant.call({w, view(p.x.data(), p.tokens(), in), view(p.ends.data(), p.experts),
                  view(y.data(), p.tokens(), out)},
                 {});
    if (want.empty()) want = y;
    if (!agree(w, unpacked, p, to_input, kind == Kind::int8, y, want)) std::abort();
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
  const Unpacked unpacked(w);
  run_variants(w, unpacked, coder.product(), p, Kind::product);
  if (coder.product_int8) run_variants(w, unpacked, coder.product_int8(), p, Kind::int8);
  run_variants(w, unpacked, coder.product_to_input(), p, Kind::to_input);
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
