// What a container holds, for people and programs that know no more of the model than its files.
#pragma once

#include "base/fields.h"
#include "checkpoint/tensor_source.h"

namespace mote::checkpoint {

// `format`, `family` (what a GGUF file calls its architecture), `parameters`.`total` (elements of all
// tensors), `dtype` ("mixed" where there are several), `dtypes` (elements of each), `bytes` of all
// files, `bits_per_weight`, `metadata` (the keys of a GGUF file, the metadata of a safetensors file,
// the values of a pickle that are no tensors; of a long array its first elements) and with `tensors`
// the list of them: `name`, `shape`, `dtype`, `bytes`, `bits_per_weight`.
Json describe(const TensorSource& source, bool tensors);

}  // namespace mote::checkpoint
