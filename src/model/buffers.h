// Tensors that passes use again: the outputs of operations where nothing records gradients.
//
// take() gives out a tensor of the asked sizes that nobody else holds, and makes one only where there
// is none. So what an operation returns lives as long as someone holds it, as ever, and a token
// through a model that has read one before makes no tensor. For one thread and one pass at a time.
#pragma once

#include <vector>

#include "model/torch.h"

namespace mote::model {

class Buffers {
 public:
  // Contiguous, not initialised, without gradient.
  Tensor take(at::IntArrayRef sizes, torch::ScalarType type);
  // Before a pass over `rows` tokens: forgets what the last two passes did not use (two, because a
  // caller may hold one result while the next is made), and everything where the last one had
  // another number of rows.
  void begin_pass(std::int64_t rows);
  std::uint64_t bytes() const;

 private:
  struct Buffer {
    Tensor tensor;
    int idle = 0;  // passes that began since it was given out
  };
  std::vector<Buffer> buffers_;
  std::int64_t rows_ = 0;
};

}  // namespace mote::model
