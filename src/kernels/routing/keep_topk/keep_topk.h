// Of every row all but the K largest numbers become 0, in place (top-K activation,
// specs/sparse-ffn 2.2). What is at least the K-th largest number of its row stays, so that all that
// are equal to it are kept; where fewer than K are positive nothing changes. NaN counts as largest,
// so that it stays. Rows have unit stride; K >= 1, a row of at most K numbers does not change.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct KeepTopk {
  View<float, 2> x_NF;
  Index k = 0;
};
void keep_topk(const KeepTopk& args, const Run& run);

}  // namespace mote::kernels
