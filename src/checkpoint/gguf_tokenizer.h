// The tokenizer inside a GGUF file.
#pragma once

#include "checkpoint/gguf.h"
#include "text/gguf_vocabulary.h"

namespace mote::checkpoint {

// Of the keys tokenizer.ggml.*. Throws a file error that names the key where one is missing or of
// another type.
text::GgufVocabulary vocabulary_in(const GgufFile& file);

}  // namespace mote::checkpoint
