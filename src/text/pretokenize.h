// Pre-tokens: the pieces of text inside which a tokenizer's model looks for tokens.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace mote::text {

// GPT-2's pattern: contractions, words, numbers and other signs, each with the one space before
// it; then white space.
extern const char* const kGpt2Pattern;

// One way to cut. A match of `pattern`, and what lies between matches, become pieces as `behavior`
// says; `invert` exchanges the two.
struct Cut {
  enum class Behavior {
    isolated,         // each a piece
    removed,          // matches are dropped
    merged_previous,  // a match goes with what is before it
    merged_next,      // with what is after it
    contiguous,       // matches that touch are one piece
  };
  std::string pattern;
  Behavior behavior = Behavior::isolated;
  bool invert = false;
  bool operator==(const Cut&) const = default;
};

// Puts SentencePiece's sign in place of spaces, and before text.
struct Metaspace {
  enum class Prepend { never, first, always };  // first: at the start of the whole text only
  std::string replacement = "\xE2\x96\x81";     // U+2581
  Prepend prepend = Prepend::always;
  bool split = true;  // then cuts before each sign
  bool operator==(const Metaspace&) const = default;
};

struct PreStep {
  // prefix_space: a space before a piece that does not begin with one.
  enum class Kind { cut, metaspace, prefix_space } kind = Kind::cut;
  Cut cut = {};
  Metaspace metaspace = {};
  bool operator==(const PreStep&) const = default;
};

// Cuts text by steps, each cutting what the one before it left. Const calls may run at the same
// time.
class PreTokenizer {
 public:
  using Piece = std::function<void(std::string_view)>;

  // Throws Error(value) naming a pattern and the place in it that does not compile.
  explicit PreTokenizer(const std::vector<PreStep>& steps);
  // Cuts at the matches of each pattern: the pieces in order are exactly the text.
  explicit PreTokenizer(const std::vector<std::string>& patterns);

  // A run of bytes that are not UTF-8 is a piece of its own.
  void split(std::string_view text, const Piece& piece) const;
  // The same for valid UTF-8; `at_start` says whether the whole text begins with it.
  void split_valid(std::string_view text, bool at_start, const Piece& piece) const;

 private:
  using Scratches = std::vector<std::unique_ptr<Regex::Scratch>>;
  Scratches scratches() const;
  void step(std::string_view text, bool at_start, std::size_t stage, const Scratches& scratches,
            const Piece& piece) const;
  void cut(std::string_view text, bool at_start, std::size_t stage, const Scratches& scratches,
           const Piece& piece) const;

  std::vector<PreStep> steps_;
  std::vector<Regex> patterns_;  // by step; of a step without one the pattern matches nothing
};

// Cuts `text` into parts of about `bytes` bytes that GPT-2's pattern splits into the same pieces as
// the whole: before an ASCII space or newline that follows a visible ASCII character, where no
// piece can go on and no look-ahead reaches.
std::vector<std::string_view> cut_between_words(std::string_view text, std::size_t bytes);

}  // namespace mote::text
