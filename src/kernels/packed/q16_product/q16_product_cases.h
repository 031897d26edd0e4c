// A case of the q16 products: matrices, inputs, scratch.
#pragma once

#include "kernels/packed/q16/q16_cases.h"
#include "kernels/packed/q16_product/q16_product.h"
#include "kernels/packed/sorted_rows_cases.h"

namespace mote::kernels {

struct Q16ProductData {
  SortedInputs in;
  Q16Random w;

  Q16ProductData(const ProductCase& shape, std::uint64_t seed)
      : in(shape, seed),
        w(random_q16({shape.experts, shape.rows, shape.columns, shape.zeros}, seed)) {}

  std::vector<float> scratch() const {
    return std::vector<float>(static_cast<std::size_t>(q16_scratch(in.rows(), in.shape.columns)));
  }
  // float32 [E, rows, columns].
  std::vector<float> dense() const {
    std::vector<float> weights;
    weights.reserve(w.trits_ERC.size());
    auto trit = w.trits_ERC.begin();
    for (Index e = 0; e < in.shape.experts; ++e) {
      const Q16Matrix m = w.encoded.view().expert(e);
      for (Index r = 0; r < m.rows; ++r)
        for (Index c = 0; c < m.columns; ++c, ++trit)
          weights.push_back(*trit == 0 ? 0 : *trit == 1 ? m.minimum(r) : m.maximum(r));
    }
    return weights;
  }
};

}  // namespace mote::kernels
