// A whole product on all threads: gemm/gemm.h with c cut into tiles, a few for every worker, since
// every tile packs its part of b anew. Each c[i, j] is summed by one thread in an order that depends
// on k and on whether the whole has few rows, not on the tile: the bits are the same for any number
// of threads.
#pragma once

#include "kernels/linear/gemm/gemm.h"

namespace mote::kernels {

void matmul(const Gemm& whole, const Run& run);

// The part of an operand that belongs to the outer elements from `first` on; of a source, `first`
// is a multiple of 64.
Operand from_outer(Operand x, Index first);
// The part of a product that makes c[i : i + m, j : j + n].
Gemm part_of(const Gemm& whole, Index i, Index m, Index j, Index n);

}  // namespace mote::kernels
