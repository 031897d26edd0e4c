// Experts as QMoE's published folders have them (arXiv 2310.16795; specs/qmoe 5): noexp.pt with all that is
// no expert, exp00.pt, exp01.pt, ... with the ternary experts of each sparse block, encoder first, and
// sizes.pt, which repeats how many codewords there are and is not read. Of a matrix NAME:
//   NAME.w_comp      i16 [N]         codewords, bits of u16 (kernels/packed/q16)
//   NAME.row_off     i32 [rows + 1]  where each row's start
//   NAME.ter_minmax  bf16 [2 rows]   minimum and maximum of each row in turn
//   NAME.weight      bf16 [0]        nothing
// The folder has no tokenizer.
#pragma once

#include <memory>

#include "base/parallel.h"
#include "checkpoint/names.h"
#include "checkpoint/tensor_source.h"
#include "kernels/packed/packed_matrices.h"

namespace mote::checkpoint {

inline constexpr const char* kQmoeMain = "noexp.pt";

// Whether the experts that `where` names lie so.
bool is_qmoe_stack(const TensorSource& files, const StoredTensor& where);

// They as a stack of the coder q16, whole and checked: the only copy in memory. Throws a file error that
// names the tensor where its parts disagree with each other or with the shape.
std::shared_ptr<const kernels::PackedStack> read_qmoe_stack(const TensorSource& files,
                                                            const StoredTensor& where,
                                                            const kernels::StackShape& shape,
                                                            const Executor& executor);

}  // namespace mote::checkpoint
