// What a byte-level BPE is made of, whether learned here or read from a file, and the tokenizer
// that uses it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace mote::text {

// Neighbours `left` and `right` become `result`, whose bytes are theirs one after the other.
struct Merge {
  TokenId left, right, result;
  bool operator==(const Merge&) const = default;
};

struct BpeModel {
  struct Token {
    std::string bytes;     // for a special token its name
    bool special = false;  // left out of decoded text
    bool added = false;    // never made from text; special tokens are
  };
  std::vector<Token> tokens;            // by id
  std::array<TokenId, 256> byte_ids{};  // the token of each single byte
  std::vector<Merge> merges;            // the first possible one is done first
  TokenId end_of_text = 0;
  bool ignore_merges = false;         // a piece that is a token is that token, whatever the merges
  std::vector<std::string> patterns;  // of the PreTokenizer
  std::string source;                 // the file it was read from, to be saved as it was
};

// Ids 0 to 255 are the bytes, 256 is <|endoftext|>, and GPT-2's pattern cuts the text.
BpeModel byte_model();

// A model that is consistent, which parsing a file makes sure of and learning cannot fail to be.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeModel model);

}  // namespace mote::text
