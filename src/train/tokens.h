// The tokens and the tokenizer of a run, which [data] of its recipe and training.from name.
#pragma once

#include <cstdint>
#include <filesystem>

#include "text/corpus.h"
#include "train/recipe.h"

namespace mote::train {

// Tokens of the vocabulary, before any text is read: of the tokens in `made`, where a run has them
// already, else of the recipe. Throws where data.train is a prepared folder of another tokenizer;
// warns of what else of [data] nothing will read.
std::int64_t vocab_size_of(const Recipe& recipe, const std::filesystem::path& made);

// The recipe's model for that many tokens.
checkpoint::ModelConfig model_of(const Recipe& recipe, std::int64_t vocab_size);

// Makes `folder` a prepared folder: of `corpus`, or, where that is null, of the prepared folder that
// data.train names, whose files are taken as they are, if they belong together.
void make_tokens(const Recipe& recipe, const text::Corpus* corpus,
                 const std::filesystem::path& folder, int threads);

}  // namespace mote::train
