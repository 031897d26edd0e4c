// SentencePiece's model file (spiece.model, tokenizer.model), unigram or BPE, by its library.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/corpus.h"
#include "text/tokenizer.h"

namespace mote::text {

struct SentencePieceOptions {
  // T5's: <extra_id_0> is the last token, <extra_id_1> the one before it, ...; each takes the white
  // space beside it.
  int extra_ids = 0;
  // Text after a special token begins with a space of its own, as old files' users had it.
  bool legacy = false;
  bool add_begin = false, add_end = false;
  // Behind the pieces, with their ids; special ones or not.
  struct Added {
    std::string content;
    TokenId id;
    bool special;
  };
  std::vector<Added> added;
  // The files to save, by name; the first is the model.
  std::vector<std::pair<std::string, std::string>> files;
};

// `file` is used in messages only. Throws Error(file) for what is no model or a damaged one.
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(std::string model,
                                                        SentencePieceOptions options,
                                                        const std::string& file);

// <extra_id_0> and so on, at the end of T5's vocabulary.
inline constexpr int kT5Sentinels = 100;

// Learns a unigram model of vocab_size tokens, the last `extra_ids` of them sentinels: T5's
// normalization (nmt_nfkc), <pad> 0, </s> 1, <unk> 2, no begin. The same result for any number of
// threads.
std::unique_ptr<Tokenizer> train_unigram(const Corpus& corpus, int vocab_size, int extra_ids);

}  // namespace mote::text
