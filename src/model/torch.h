// The one place that includes LibTorch; precompiled. torch/torch.h and torch/nn.h would triple the
// time per file.
#pragma once

#include <torch/autograd.h>
#include <torch/types.h>

namespace mote {

using torch::Tensor;

}  // namespace mote
