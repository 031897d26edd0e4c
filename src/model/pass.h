// What travels with a forward pass beside the numbers: how to run, what is random, who watches.
#pragma once

#include "base/rng.h"
#include "kernels/core/variants.h"
#include "kernels/linear/gemm/gemm.h"

namespace mote::model {

class Buffers;
class Observer;
class OpTimes;

struct Pass {
  kernels::Run run;
  kernels::Precision precision = kernels::Precision::f32;  // of the products
  bool int8_activations = false;     // packed weights that can multiply rows rounded to 8 bits
  bool train = false;                // dropout and expert dropout are on
  std::uint64_t seed = 0, step = 0;  // the random key
  Observer* observer = nullptr;      // null: nobody
  OpTimes* times = nullptr;          // null: nobody asks where the time goes
  Buffers* buffers = nullptr;        // for passes without gradients; null: outputs are made anew

  Rng rng(Purpose purpose, std::int64_t part) const {
    return Rng(seed, purpose, step, static_cast<std::uint32_t>(part));
  }
};

}  // namespace mote::model
