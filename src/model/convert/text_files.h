// What goes along with a model that is converted: tokenizer, chat template, and the tokens that begin and
// end its texts.
#pragma once

#include <filesystem>

#include "checkpoint/gguf_writer.h"
#include "checkpoint/model_config.h"

namespace mote::model {

// Into a folder: the files of a folder as they are; of a GGUF file tokenizer.json, tokenizer_config.json,
// chat_template.jinja and generation_config.json, and their ids in `config_json`.
void write_text_files(const std::filesystem::path& model, const checkpoint::ModelConfig& config,
                      const std::filesystem::path& folder, Json& config_json);

// As keys: those of a GGUF file as they are; of a folder tokenizer.ggml.* and tokenizer.chat_template. A
// folder without a tokenizer gives tokenizer.ggml.model "none", which llama.cpp knows.
void add_text_keys(const std::filesystem::path& model, const checkpoint::ModelConfig& config,
                   checkpoint::GgufKeyList& keys);

}  // namespace mote::model
