// Weights stored packed, multiplied where they lie.
#pragma once

#include <memory>

#include "checkpoint/packed.h"
#include "model/model.h"

namespace mote::model {

// `owner` keeps the parts alive: a mapped file or an encoded stack. A stack, or one matrix that is
// used as such.
WeightPtr make_packed_weight(const kernels::PackedMatrices& w, std::shared_ptr<const void> owner,
                             std::string name, bool stacked = true);

// The parts of a packed weight, for writing; null for another storage.
const kernels::PackedMatrices* packed_parts(const Weight& weight);

// Throws unless the model has packed weights and all of them can multiply 8-bit activations.
void check_int8_activations(Model& model);

}  // namespace mote::model
