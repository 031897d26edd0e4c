// Token files and the batches cut from them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/parallel.h"
#include "text/corpus.h"
#include "text/tokenizer.h"

namespace mote::text {

// A prepared folder: the ids, what they are, and the tokenizer that made them.
inline constexpr const char* kIdsFile = "tokens.bin";
inline constexpr const char* kHeaderFile = "tokens.json";
// What a tokenizer may have been read from and is saved as.
inline constexpr std::array kTokenizerFiles{kTokenizerFile,      "spiece.model",
                                            "tokenizer.model",   "tokenizer_config.json",
                                            "added_tokens.json", "special_tokens_map.json"};
inline constexpr auto kPreparedFiles = [] {
  std::array<const char*, 2 + kTokenizerFiles.size()> files{kIdsFile, kHeaderFile};
  std::copy(kTokenizerFiles.begin(), kTokenizerFiles.end(), files.begin() + 2);
  return files;
}();

struct Prepared {
  std::uint64_t tokens = 0, bytes = 0;  // end-of-text tokens included; bytes of text
  int vocab_size = 0;
};

// Fills `out` with and names it: tokens.bin (little-endian ids, uint16 when the vocabulary
// has at most 65,536 entries, else uint32), tokens.json (count, width, bytes, vocabulary, the
// corpus and its xxh64) and tokenizer.json. Every document is one end-of-text token followed by its
// tokens. Encodes documents in parallel.
Prepared prepare(const Corpus& corpus, const Tokenizer& tokenizer, const std::string& corpus_name,
                 StagedFolder& out, int threads);

// Whether `folder` looks like one that prepare() wrote.
bool is_prepared(const std::filesystem::path& folder);
// Makes `out` another name of a prepared folder's files (copies where there are no links).
void link_prepared(const std::filesystem::path& folder, StagedFolder& out);

class TokenSequence {
 public:
  virtual ~TokenSequence() = default;
  virtual std::uint64_t size() const = 0;
  virtual TokenId operator[](std::uint64_t i) const = 0;
};

// A prepared folder, mapped.
class TokenFile final : public TokenSequence {
 public:
  explicit TokenFile(const std::filesystem::path& folder);
  ~TokenFile() override;
  std::uint64_t size() const override;
  TokenId operator[](std::uint64_t i) const override;
  const Prepared& info() const;

  // The folder's tokenizer. Throws where it has another number of tokens than tokens.json says.
  std::unique_ptr<Tokenizer> tokenizer() const;
  // Calls `add` with the bytes of each token, of an end-of-text token with none, up to about
  // `max_bytes` (0: all). Where nothing was left out and the text is not the one that was encoded,
  // by the hash in tokens.json, it throws: the tokens or the tokenizer were exchanged.
  void decode(const Tokenizer& tokenizer, std::uint64_t max_bytes,
              FunctionRef<void(std::string_view bytes, bool starts_document)> add) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The tokens of a corpus in memory, as prepare() writes them.
class TokenList final : public TokenSequence {
 public:
  TokenList(const Corpus& corpus, const Tokenizer& tokenizer);
  std::uint64_t size() const override { return ids_.size(); }
  TokenId operator[](std::uint64_t i) const override { return ids_[i]; }

 private:
  std::vector<TokenId> ids_;
};

// Behind the end of a shorter target.
inline constexpr TokenId kNoTarget = -100;

// One training batch: `ids` and `targets` are [streams, T] row-major; targets[i] follows ids[i] in the
// text. Of encoder-decoders, `source` is [streams, S] with the number of tokens of each, or none where
// all are S long.
struct Batch {
  std::vector<TokenId> ids, targets;
  std::vector<TokenId> source = {};
  std::vector<std::int32_t> source_lengths = {};
  bool starts_epoch = false;  // attention memory must be reset before it
};

// Batch `step` depends on `step` alone, so a run resumes by asking for the next step.
class Batches {
 public:
  virtual ~Batches() = default;
  virtual Batch at(std::int64_t step) const = 0;
  virtual std::int64_t steps_per_epoch() const = 0;
  // Tokens that a step reads, sources and targets; where steps differ, in the mean.
  virtual std::int64_t tokens_per_step() const = 0;
};

// Transformer-XL streams: the file is cut into floor((size - 1) / context) windows of context + 1
// tokens at stride `context`; stream b reads windows b*W .. b*W + W-1 in order, W = floor(windows /
// streams); the remainder is dropped; after W steps a new epoch starts.
class BatchStream final : public Batches {
 public:
  BatchStream(std::shared_ptr<const TokenSequence> tokens, std::int64_t streams,
              std::int64_t context);
  Batch at(std::int64_t step) const override;
  std::int64_t steps_per_epoch() const override { return windows_per_stream_; }
  std::int64_t tokens_per_step() const override { return streams_ * context_; }

 private:
  std::shared_ptr<const TokenSequence> tokens_;
  std::int64_t streams_, context_, windows_per_stream_;
};

}  // namespace mote::text
