// The tokenizer inside a GGUF file.
#pragma once

#include "checkpoint/gguf.h"
#include "text/gguf_vocabulary.h"

namespace mote::checkpoint {

// Keys of tokens that end a text beside the tokenizer's own, and of the chat template.
inline constexpr const char* kGgufMoreEnds[] = {"tokenizer.ggml.eot_token_id",
                                                "tokenizer.ggml.eom_token_id"};
inline constexpr const char* kGgufTemplate = "tokenizer.chat_template";

// Of the keys tokenizer.ggml.*. Throws a file error that names the key where one is missing or of
// another type.
text::GgufVocabulary vocabulary_in(const GgufFile& file);

}  // namespace mote::checkpoint
