// Pre-tokens: the pieces of text inside which byte pairs are merged.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mote::text {

// GPT-2's pattern: contractions, words, numbers and other signs, each with the one space before
// it; then white space.
extern const char* const kGpt2Pattern;

// Cuts text at the matches of regular expressions. Each pattern cuts what the one before it left;
// its matches and what lies between them are both pieces. Classes such as \p{L} are Unicode's, and
// \s is its White_Space property. A run of bytes that are not UTF-8 is a piece of its own, so the
// pieces in order are always exactly the text.
//
// Const calls may run at the same time.
class PreTokenizer {
 public:
  // Throws Error(value) naming the pattern and the place in it that does not compile.
  explicit PreTokenizer(const std::vector<std::string>& patterns);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  void split(std::string_view text, const std::function<void(std::string_view)>& piece) const;

 private:
  class Pattern;
  void split_valid(std::string_view text, std::size_t stage,
                   const std::function<void(std::string_view)>& piece) const;
  std::vector<std::unique_ptr<Pattern>> patterns_;
};

// Cuts `text` into parts of about `bytes` bytes that GPT-2's pattern splits into the same pieces as
// the whole: before an ASCII space or newline that follows a visible ASCII character, where no
// piece can go on and no look-ahead reaches.
std::vector<std::string_view> cut_between_words(std::string_view text, std::size_t bytes);

}  // namespace mote::text
