#include "kernels/packed/packed_matrices.h"

#include "base/check.h"
#include "kernels/packed/coder.h"

namespace mote::kernels {
namespace {

// False where the product leaves 62 bits.
bool count_elements(const std::vector<Index>& sizes, Index any_length, Index& count) {
  count = 1;
  for (const Index size : sizes)
    if (__builtin_mul_overflow(count, size == kAnyLength ? any_length : size, &count) ||
        count > Index{1} << 62)
      return false;
  return true;
}

[[noreturn]] void refuse(const PackedMatrices& w, const std::string& name,
                         const std::string& what) {
  throw Error(ErrorKind::file, concat(w.coder->name, " matrix '", name, "' ", what)).at(name);
}

}  // namespace

void check_parts(const PackedMatrices& w, const std::string& name) {
  const std::pair<const char*, Index> sides[] = {
      {"experts", w.shape.experts}, {"rows", w.shape.rows}, {"columns", w.shape.columns}};
  for (const auto& [side, size] : sides)
    if (size < 0 || size > kMostPackedSide)
      refuse(w, name,
             concat("has ", size, " ", side, ", at most ", kMostPackedSide, " are possible"));
  for (std::size_t i = 0; i < w.coder->parts.size(); ++i) {
    const PartSpec& spec = w.coder->parts[i];
    const Index found = w.parts[i].count;
    Index wanted = 0;
    if (!count_elements(spec.shape(w.shape), found, wanted) || wanted != found)
      refuse(w, name,
             concat("has ", found, " elements of ", spec.name, ", ", w.shape.experts, " x ",
                    w.shape.rows, " x ", w.shape.columns, " need ", wanted));
  }
}

std::uint64_t num_bits(const PackedMatrices& w) {
  Index bytes = 0;
  for (std::size_t i = 0; i < w.coder->parts.size(); ++i)
    bytes += w.parts[i].count * bytes_per_element(w.coder->parts[i].type);
  return 8 * static_cast<std::uint64_t>(bytes);
}

PackedStack::PackedStack(const Coder& coder, const StackShape& shape, Index any_length)
    : coder_(&coder), shape_(shape) {
  for (std::size_t i = 0; i < coder.parts.size(); ++i) {
    const PartSpec& spec = coder.parts[i];
    MOTE_CHECK(count_elements(spec.shape(shape), any_length, counts_[i]), coder.name, ": ",
               shape.experts, " x ", shape.rows, " x ", shape.columns, " is too large for ",
               spec.name);
    const Index bytes = counts_[i] * bytes_per_element(spec.type);
    lines_[i].resize(static_cast<std::size_t>((bytes + 63) / 64));
  }
}

PackedMatrices PackedStack::view() const {
  PackedMatrices w{coder_, shape_, {}};
  for (std::size_t i = 0; i < kMostParts; ++i) w.parts[i] = {lines_[i].data(), counts_[i]};
  return w;
}

}  // namespace mote::kernels
