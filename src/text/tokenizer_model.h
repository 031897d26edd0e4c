// What a tokenizer is made of, whether learned here or read from a file, and the tokenizer that uses
// it: text -> added tokens -> normalizer -> pre-tokenizer -> model -> ids.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

namespace mote::text {

// Neighbours `left` and `right` become `result`, whose text is theirs one after the other.
struct Merge {
  TokenId left, right, result;
  bool operator==(const Merge&) const = default;
};

struct TokenizerModel {
  // Merges of bytes or of characters by their order in a list; merges of characters whose text is a
  // token, the highest score first (SentencePiece's BPE); unigram.
  enum class Kind { byte_bpe, character_bpe, scored_bpe, unigram };
  struct Token {
    std::string bytes;     // what it matches; for an added token its name
    bool special = false;  // left out of decoded text
    bool added = false;    // found in text before the model sees it; special ones only on request
    bool in_model = true;  // the model can make it; special tokens are not
    double score = 0;
  };

  Kind kind = Kind::byte_bpe;
  std::vector<Token> tokens;            // by id
  std::array<TokenId, 256> byte_ids{};  // the token of each single byte; -1: none
  std::vector<Merge> merges;            // the first possible one is done first
  TokenId end_of_text = 0;
  bool ignore_merges = false;      // a piece that is a token is that token, whatever the merges
  bool byte_fallback = false;      // a character that is no token becomes its bytes
  std::optional<TokenId> unknown;  // else this
  bool fuse_unknown = false;       // a run of them is one
  double least_score = 0;          // of all tokens: unigram
  std::vector<AddedToken> added;   // how those of `tokens` are found
  Normalizer normalizer;
  std::vector<PreStep> steps;
  // GGUF: a space before text that begins or follows a special token; spaces become U+2581.
  bool space_prefix = false, spaces_to_signs = false;
  // Where a token is decoded the first becomes the second, wherever it stands in it.
  std::vector<std::pair<std::string, std::string>> decode_replacements;
  DecodeRules decode_rules;
  TokenRoles roles;
  Around around;
  std::vector<std::string> warnings;
  std::string source;  // the file it was read from, to be saved as it was
  // The files beside it, by name.
  std::vector<std::pair<std::string, std::string>> companions;
};

// Ids 0 to 255 are the bytes, 256 is <|endoftext|>, and GPT-2's pattern cuts the text.
TokenizerModel byte_model();

// Warns of bytes that a byte-level vocabulary has no token for (byte_ids of -1). False: it has none of
// them, and is no such vocabulary.
bool note_missing_bytes(TokenizerModel& model, const std::string& file);

// A model that is consistent, which parsing a file makes sure of and learning cannot fail to be.
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerModel model);

}  // namespace mote::text
