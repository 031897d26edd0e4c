// Text <-> token ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mote::text {

using TokenId = std::int32_t;

inline constexpr const char* kTokenizerFile = "tokenizer.json";

// What becomes of a special token's name that stands in a text: the text that it is, or the token.
// Text from strangers is encoded as_text; prompts that a chat template made, recognised.
enum class Specials { as_text, recognised };

// The tokens that a file gives a part to.
struct TokenRoles {
  std::optional<TokenId> begin, end, padding, unknown;
};

// What a file wants before and after each text that stands alone.
struct Around {
  std::vector<TokenId> before, after;
};

// How the pieces of a text become it again.
struct DecodeRules {
  // What is left out where a text begins: nothing; the spaces of the first token; one space; a space
  // of each token while there is no text yet.
  enum class Start { whole, first_token_bare, without_space, without_spaces } start = Start::whole;
  // Bytes that are not UTF-8 become a U+FFFD each; else one for each maximal invalid part.
  bool each_byte = false;
};

struct TokenizerModel;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids in [0, vocab_size()), special tokens included.
  virtual int vocab_size() const = 0;
  // Appends the ids of `text`. Any bytes are accepted; nothing is put before or after them.
  virtual void encode(std::string_view text, std::vector<TokenId>& ids,
                      Specials specials) const = 0;
  // `text` in parts of about `bytes` bytes, at least one, whose ids (Specials::as_text) one after
  // another are those of the whole. Where the tokenizer knows no such places it is one part.
  virtual std::vector<std::string_view> parts(std::string_view text, std::size_t) const {
    return {text};
  }
  // The bytes of one token inside a text; empty for a special token.
  virtual std::string_view bytes(TokenId id) const = 0;
  // As the file writes it; of a special token its name.
  virtual std::string name(TokenId id) const;
  virtual bool special(TokenId id) const;
  // The token that the file writes so.
  virtual std::optional<TokenId> find(std::string_view name) const;
  virtual const DecodeRules& decode_rules() const;
  virtual const TokenRoles& roles() const;
  virtual const Around& around() const;
  // What a user should know about the file, a sentence each.
  virtual const std::vector<std::string>& warnings() const;
  // Whether decode(encode(text)) is text for all bytes; not where text is normalized.
  virtual bool lossless() const { return true; }
  // What it is made of (tokenizer_model.h); null where that is not ours: SentencePiece's.
  virtual const TokenizerModel* model() const { return nullptr; }
  // Separates documents.
  virtual TokenId end_of_text() const = 0;
  // Writes the tokenizer's files into `folder`.
  virtual void save(const std::filesystem::path& folder) const = 0;

  void encode(std::string_view text, std::vector<TokenId>& ids) const {
    encode(text, ids, Specials::as_text);
  }
  std::vector<TokenId> encode(std::string_view text, Specials specials = Specials::as_text) const;
  // With what the file puts around a text.
  std::vector<TokenId> encode_alone(std::string_view text,
                                    Specials specials = Specials::as_text) const;
  // The bytes, special tokens left out or by their names. They need not be UTF-8.
  std::string decode(std::span<const TokenId> ids, Specials specials = Specials::as_text) const;
};

// Turns a stream of tokens into valid UTF-8 as early as possible: bytes that may be the start of a
// character wait for the next token; bytes that cannot be UTF-8 come out as U+FFFD, as many as the
// tokenizer's rules say.
class StreamDecoder {
 public:
  // A text that begins with the first token, or one that goes on.
  enum class From { start, middle };
  explicit StreamDecoder(const Tokenizer& tokenizer, From from = From::start,
                         Specials specials = Specials::as_text);
  std::string push(TokenId id);
  // What is still held back, invalid parts replaced.
  std::string finish();

 private:
  friend class Tokenizer;
  // Its bytes, less what is left out where a text begins.
  std::string next(TokenId id);

  const Tokenizer* tokenizer_;
  Specials specials_;
  DecodeRules::Start start_;
  std::string pending_;
};

// The files that hold a tokenizer, the one that is preferred first.
const std::vector<std::string>& tokenizer_files();

// The one of them that `folder` has; its tokenizer.json if it has none.
std::filesystem::path tokenizer_file(const std::filesystem::path& folder);

// Reads the tokenizer in `folder`: tokenizer.json, else spiece.model or tokenizer.model; and what
// tokenizer_config.json, special_tokens_map.json and added_tokens.json say of it. Throws Error
// naming file and field.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace mote::text
