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

}  // namespace mote::text
