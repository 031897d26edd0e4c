// A whole product on all threads: gemm/gemm.h with c cut into tiles of about equal work. Tiles
// depend on the shape alone and each is summed by one thread in the order of gemm(), so the bits do
// not depend on the number of threads.
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
