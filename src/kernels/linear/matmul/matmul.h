// A whole product on all threads: gemm/gemm.h with c cut into tiles, a few for every worker, since
// every tile packs its part of b anew. Each c[i, j] is summed by one thread in an order that depends
// on k and on whether the whole has few rows (gemm.h), not on the tile: the bits are the same for any number
// of threads.
#pragma once

#include "kernels/linear/gemm/gemm.h"

namespace mote::kernels {

void matmul(const Gemm& whole, const Run& run);

}  // namespace mote::kernels
