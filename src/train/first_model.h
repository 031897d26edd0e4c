// The model that a run begins with: drawn at random, or the weights of another one.
#pragma once

#include <filesystem>

#include "kernels/linear/gemm/gemm.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "train/recipe.h"

namespace mote::train {

// The recipe's model with the rows that a saved model gives its vocabulary, which may be more than
// the tokenizer has tokens.
checkpoint::ModelConfig model_for(const Recipe& recipe, const text::Tokenizer& tokenizer,
                                  const std::filesystem::path& saved);

// Ready to be trained. Where training.from names a model, whose sizes must be the recipe's, tensor
// by tensor, its weights; what else of it differs is a warning.
inline torch::ScalarType stored_type(StoredType type) {
  return type == StoredType::bf16 ? torch::kBFloat16 : torch::kFloat32;
}

std::unique_ptr<model::Model> first_model(const Recipe& recipe, const text::Tokenizer& tokenizer,
                                          const Executor& executor);

// bfloat16 where the recipe asks for it and instructions have it: elsewhere it costs float32's time
// and more.
kernels::Precision training_precision(const TrainingConfig& config, const kernels::Run& run);

}  // namespace mote::train
