// Byte-level byte-pair encoding (Sennrich et al. 2016; the byte alphabet and the splitting pattern
// of GPT-2): training and use.
#pragma once

#include <memory>

#include "text/corpus.h"
#include "text/tokenizer.h"

namespace mote::text {

// The 256 bytes and <|endoftext|> (id 256), no merges. Saved as a byte-level BPE without merges.
std::unique_ptr<Tokenizer> make_byte_tokenizer();

// Learns vocab_size - 257 merges (fewer when no pair occurs twice). Each merge takes the most
// frequent pair inside pre-tokens; ties go to the pair whose (left, right) ids are smallest. The
// i-th merge makes token 257 + i. Pair counts are kept incrementally. The same result for any
// number of threads.
std::unique_ptr<Tokenizer> train_bpe(const Corpus& corpus, int vocab_size, int threads);

// Whether tokenizer_named() learns the one of that name from a corpus: bpe, unigram.
bool is_learned_tokenizer(const std::string& name);

// A tokenizer that is there: bytes, or by its folder or file.
std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name);
// What --tokenizer and a recipe name: one of these, or bpe or unigram (with T5's sentinels), which
// are learned from the corpus.
std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name, const Corpus& corpus,
                                           int vocab_size, int threads);

}  // namespace mote::text
