// Text <-> token ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mote::text {

using TokenId = std::int32_t;

inline constexpr const char* kTokenizerFile = "tokenizer.json";

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids in [0, vocab_size()), special tokens included.
  virtual int vocab_size() const = 0;
  // Appends the ids of `text`. Any bytes are accepted; no special token is recognised in them or
  // added to them.
  virtual void encode(std::string_view text, std::vector<TokenId>& ids) const = 0;
  // `text` in parts of about `bytes` bytes, at least one, whose ids one after another are those of
  // the whole. Where the tokenizer knows no such places it is one part.
  virtual std::vector<std::string_view> parts(std::string_view text, std::size_t) const {
    return {text};
  }
  // The bytes of one token; empty for a special token.
  virtual std::string_view bytes(TokenId id) const = 0;
  // Separates documents, and starts every one: what the first token of a text is predicted from.
  virtual TokenId end_of_text() const = 0;
  // Writes tokenizer.json into `folder`.
  virtual void save(const std::filesystem::path& folder) const = 0;

  std::vector<TokenId> encode(std::string_view text) const;
  std::string decode(std::span<const TokenId> ids) const;
};

// Turns a stream of tokens into valid UTF-8 as early as possible: bytes that may be the start of a
// character wait for the next token; bytes that cannot be UTF-8 come out as U+FFFD, one for each
// maximal invalid part (as Unicode advises).
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  std::string push(TokenId id);
  // What is still held back, invalid parts replaced.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;
};

// Reads tokenizer.json from `folder`: ours or a byte-level BPE in the Hugging Face format. Throws
// Error naming file and field.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace mote::text
