// A whole product on all threads: gemm/gemm.h with c cut into tiles. Tiles depend on the shape
// alone and each is summed by one thread in the order of gemm(), so the bits do not depend on the
// number of threads.
#pragma once

#include "kernels/linear/gemm/gemm.h"

namespace mote::kernels {

void matmul(const Gemm& whole, const Run& run);

// The part of an operand that belongs to the outer elements from `first` on.
Operand from_outer(Operand x, Index first);

}  // namespace mote::kernels
