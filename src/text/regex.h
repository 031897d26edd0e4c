// Regular expressions over valid UTF-8, by PCRE2, as the files of tokenizers write them: classes such
// as \p{L} are Unicode's, \s is its White_Space property, ^ and $ stand at lines.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace mote::text {

// Const calls may run at the same time, each with a scratch of its own.
class Regex {
 public:
  class Scratch;

  // Throws Error(value) naming the pattern and the place in it that does not compile.
  explicit Regex(const std::string& pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  std::unique_ptr<Scratch> scratch() const;
  // The first match at or after `from` that is not empty, as (begin, end); (size, size) if none.
  std::pair<std::size_t, std::size_t> find(std::string_view text, std::size_t from,
                                           Scratch& scratch) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

class Regex::Scratch {
 public:
  virtual ~Scratch() = default;
};

// A pattern that matches `text` and nothing else.
std::string exact_pattern(std::string_view text);

}  // namespace mote::text
