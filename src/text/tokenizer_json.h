// A byte-level BPE as tokenizer.json, the file of Hugging Face's `tokenizers`.
#pragma once

#include <string>

#include "text/bpe_model.h"

namespace mote::text {

inline constexpr const char* kEndOfText = "<|endoftext|>";

// A model with GPT-2's pattern and no added token but kEndOfText, which is what is learned here.
std::string to_tokenizer_json(const BpeModel& model);

// Throws Error(file), or Error(unsupported) naming the part that this program does not know; `file`
// is used in messages only.
BpeModel parse_tokenizer_json(std::string json, const std::string& file);

}  // namespace mote::text
