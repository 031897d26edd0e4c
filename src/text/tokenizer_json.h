// tokenizer.json, the file of Hugging Face's `tokenizers`.
#pragma once

#include <string>

#include "text/tokenizer_model.h"

namespace mote::text {

inline constexpr const char* kEndOfText = "<|endoftext|>";

// A model without a normalizer, whose steps are isolated cuts: a byte-level BPE, or one by scores,
// whose merges are then every pair of tokens that make one, by the score of what they make.
std::string to_tokenizer_json(const TokenizerModel& model);

// Throws Error(file), or Error(unsupported) naming the part that this program does not know; `file`
// is used in messages only. Without a special token that is known to separate documents,
// end_of_text is the one called `end`, and it is an error if that is none.
TokenizerModel parse_tokenizer_json(std::string json, const std::string& file,
                                    const std::string& end = "");

}  // namespace mote::text
