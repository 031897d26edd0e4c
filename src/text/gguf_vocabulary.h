// The vocabulary inside a GGUF file (keys tokenizer.ggml.*) as a tokenizer. Its ids are llama.cpp's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace mote::text {

struct GgufVocabulary {
  std::string model;                // gpt2: byte-level BPE; llama: SentencePiece's BPE by scores
  std::string pre;                  // gpt2: the name of the patterns that cut text
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id: llama
  std::vector<std::int32_t>
      types;  // by id; 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused,
              // 6 byte; empty: all normal
  std::vector<std::string> merges;  // "left right": gpt2
  TokenRoles roles;
  std::optional<bool> add_begin, add_end, space_prefix;  // by default as `model` and `pre` have it
};

// `file` is used in messages only. Throws Error(file), or Error(unsupported) for a model or pre that
// is unknown. end_of_text is <|endoftext|> where there is one, else the end or begin token.
std::unique_ptr<Tokenizer> make_gguf_tokenizer(GgufVocabulary vocabulary, const std::string& file);

// The other way. Ids, kinds of tokens and merges are the tokenizer's; `pre` is the first name of its
// patterns. `file` is used in messages only. Throws Error(unsupported) for a tokenizer that GGUF has no way
// to say: of SentencePiece's library, unigram, with patterns that have no name, with a normalizer that
// changes more than composed characters (which llama.cpp leaves as they are).
GgufVocabulary gguf_vocabulary(const Tokenizer& tokenizer, const std::string& file);

// Unused tokens behind the others up to `count`, the rows of the embedding, as llama.cpp wants them.
void pad_vocabulary(GgufVocabulary& vocabulary, std::int64_t count);

}  // namespace mote::text
