// Rounding to nearest: what second-order methods are compared with, and what they fall back to.
#pragma once

#include "compress/methods/method.h"
#include "kernels/packed/rounding/rounding.h"

namespace mote::compress {

class RoundToNearest final : public Method {
 public:
  explicit RoundToNearest(const MethodOptions& options) : options_(options) {}
  bool needs_statistics() const override { return false; }
  MethodResult compress(const model::Weight& weight, const Statistics& statistics,
                        const std::string& name, const model::Pass& pass) const override;

 private:
  const MethodOptions options_;
};

kernels::Grid grid_of(Bits bits);

// The min-max levels of every row, rounded as they will be stored: [E, out, 2].
Tensor row_levels(const Tensor& w_EOI, Bits bits, const model::Pass& pass);

// The matrices as [E, out, in], one matrix as a stack of one.
Tensor as_stack(const model::Weight& weight);

// Throws where weights are so large that what is stored of them would not be finite.
void check_levels(const Tensor& levels_EO2, Bits bits, const Tensor& w_EOI,
                  const std::string& name);
[[noreturn]] void throw_overflow(const std::string& what, const Tensor& w_EOI,
                                 const std::string& name);

// Does `work` on weights whose name kernels, which refuse numbers that overflow, do not know.
template <class Work>
auto naming(const std::string& name, const Tensor& w_EOI, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::numeric) throw;
    throw_overflow(error.what(), w_EOI, name);
  }
}

// Packs symbols on their grid as a weight of that shape, and counts zeros and entropy into
// `result`.
void pack(const Tensor& symbols_EOI, const Tensor& levels_EO2, Bits bits,
          const model::WeightShape& shape, const std::string& name, const model::Pass& pass,
          MethodResult& result);

}  // namespace mote::compress
