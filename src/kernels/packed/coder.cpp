#include "kernels/packed/coder.h"

#include "kernels/packed/block_rows/block_rows.h"
#include "kernels/packed/q16/q16.h"
#include "kernels/packed/two_bit/two_bit.h"

namespace mote::kernels {
namespace {

constexpr const Coder* kCoders[] = {&kQ16, &kTwoBit};

}  // namespace

std::span<const Coder* const> coders() {
  return kCoders;
}

const Coder* find_coder(std::string_view name) {
  for (const Coder* coder : kCoders)
    if (name == coder->name) return coder;
  for (const Coder* coder : block_coders())
    if (name == coder->name) return coder;
  return nullptr;
}

const Coder& coder_of(Grid grid) {
  for (const Coder* coder : kCoders)
    if (coder->grid == grid) return *coder;
  return *kCoders[0];
}

void validate(const PackedMatrices& w, const std::string& name, const Executor& executor) {
  check_parts(w, name);
  w.coder->validate(w, name, executor);
}

}  // namespace mote::kernels
