#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "text/utf8.h"

namespace mote::text::jinja {
namespace {

using Kind = Token::Kind;
constexpr std::string_view kBlank = " \t\n\r\v\f";
constexpr std::size_t kMostSource = 1 << 20, kMostTokens = 200'000;

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) {
    MOTE_CHECK(source.size() <= kMostSource, "the template has ", source.size(),
               " bytes; known are up to ", kMostSource);
    for (std::size_t i = 0; i < source.size(); ++i) {
      if (source[i] == '\r') {
        if (i + 1 == source.size() || source[i + 1] != '\n') source_ += '\n';
      } else {
        source_ += source[i];
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) template_text();
    add(Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::value, concat("line ", line_, ": ", what));
  }
  void add(Kind kind, std::string text) {
    MOTE_CHECK(tokens_.size() < kMostTokens, "the template has more than ", kMostTokens, " parts");
    tokens_.push_back({kind, std::move(text), line_});
  }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  void skip(std::size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + bytes),
                                         '\n'));
    at_ += bytes;
  }

  // Text up to the next tag, and the tag.
  void template_text() {
    std::size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos &&
           (tag + 1 == source_.size() ||
            std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos))
      ++tag;
    if (tag == std::string::npos) tag = source_.size();
    std::string text = source_.substr(at_, tag - at_);
    const char kind = tag < source_.size() ? source_[tag + 1] : ' ';
    const char edge = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    trim_before(text, kind, edge);
    if (!text.empty()) add(Kind::text, std::move(text));
    skip(tag - at_);
    if (at_ == source_.size()) return;
    skip(2 + (edge == '-' || edge == '+' ? 1 : 0));
    if (kind == '#') return comment();
    if (kind == '%' && raw()) return;
    add(kind == '{' ? Kind::begin_print : Kind::begin_block, "");
    inside(kind == '{' ? "}}" : "%}", kind == '%');
  }

  void trim_before(std::string& text, char kind, char edge) const {
    if (kind == ' ') return;
    if (edge == '-') {
      text.erase(text.find_last_not_of(kBlank) + 1);
    } else if (kind != '{' && edge != '+') {
      const std::size_t last = text.find_last_not_of(" \t\v\f");
      // Only where nothing else stands before the tag on its line.
      const bool starts_line =
          last == std::string::npos ? at_ == 0 || source_[at_ - 1] == '\n' : text[last] == '\n';
      if (starts_line) text.erase(last + 1);
    }
  }

  // After a tag's end: `edge` is what stood before it.
  void trim_after(char edge, bool block) {
    if (edge == '-') {
      const std::size_t next = std::min(source_.find_first_not_of(kBlank, at_), source_.size());
      skip(next - at_);
    } else if (block && edge != '+' && rest().starts_with('\n')) {
      skip(1);
    }
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("a comment does not end");
    const char edge = end > at_ ? source_[end - 1] : ' ';
    skip(end + 2 - at_);
    trim_after(edge, true);
  }

  // {% raw %} ... {% endraw %}
  bool raw() {
    const auto tag = [&](std::size_t from, std::string_view word, char& edge) -> std::size_t {
      std::size_t i = source_.find_first_not_of(kBlank, from);
      if (i == std::string::npos || source_.compare(i, word.size(), word) != 0)
        return std::string::npos;
      i = source_.find_first_not_of(kBlank, i + word.size());
      if (i == std::string::npos) return i;
      edge = ' ';
      if (source_[i] == '-' || source_[i] == '+') edge = source_[i++];
      return source_.compare(i, 2, "%}") == 0 ? i + 2 : std::string::npos;
    };
    char edge = ' ';
    const std::size_t begin = tag(at_, "raw", edge);
    if (begin == std::string::npos) return false;
    skip(begin - at_);
    trim_after(edge, true);
    for (std::size_t open = at_; (open = source_.find("{%", open)) != std::string::npos;
         open += 2) {
      const char before = open + 2 < source_.size() ? source_[open + 2] : ' ';
      const std::size_t end =
          tag(open + 2 + (before == '-' || before == '+' ? 1 : 0), "endraw", edge);
      if (end == std::string::npos) continue;
      std::string text = source_.substr(at_, open - at_);
      trim_before(text, '%', before);
      if (!text.empty()) add(Kind::text, std::move(text));
      skip(end - at_);
      trim_after(edge, true);
      return true;
    }
    fail("{% raw %} has no {% endraw %}");
  }

  void inside(std::string_view end, bool block) {
    int open = 0;  // brackets
    while (true) {
      const std::size_t next = source_.find_first_not_of(kBlank, at_);
      if (next == std::string::npos) fail(concat("a tag does not end in ", end));
      skip(next - at_);
      const char edge = source_[at_];
      const std::size_t shift = edge == '-' || edge == '+' ? 1 : 0;
      if (open == 0 && rest().substr(shift).starts_with(end)) {
        add(block ? Kind::end_block : Kind::end_print, "");
        skip(shift + 2);
        return trim_after(edge, block);
      }
      if (is_name_start(edge))
        word();
      else if (is_digit(edge))
        number();
      else if (edge == '\'' || edge == '"')
        string(edge);
      else
        sign(open);
    }
  }

  void word() {
    std::size_t end = at_;
    while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
    add(Kind::name, source_.substr(at_, end - at_));
    skip(end - at_);
  }

  void number() {
    std::size_t end = at_;
    bool real = false;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) ++end;
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    digits();
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1))
      real = true, ++end, digits();
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const std::size_t sign =
          end + 1 < source_.size() &&
          std::string_view("+-").find(source_[end + 1]) != std::string_view::npos;
      if (digit_at(end + 1 + sign)) real = true, end += 1 + sign, digits();
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(real ? Kind::real : Kind::integer, std::move(text));
    skip(end - at_);
  }

  void string(char quote) {
    std::string text;
    std::size_t i = at_ + 1;
    for (; i < source_.size() && source_[i] != quote; ++i) {
      if (source_[i] != '\\' || i + 1 == source_.size()) {
        text += source_[i];
        continue;
      }
      escape(text, i);
    }
    if (i >= source_.size()) fail("a string does not end");
    add(Kind::string, std::move(text));
    skip(i + 1 - at_);
  }

  // source_[i] is a backslash; leaves i at the escape's last character.
  void escape(std::string& text, std::size_t& i) const {
    static constexpr std::string_view kFrom = "nrtbfav0\\'\"";
    const char kind = source_[++i];
    const std::size_t hex = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (hex > 0) {
      const std::string digits = source_.substr(i + 1, hex);
      if (digits.size() != hex ||
          digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        fail(concat("\\", kind, " needs ", hex, " hexadecimal digits"));
      const std::uint64_t code = std::stoull(digits, nullptr, 16);
      if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) fail("an escape is no character");
      append_utf8(text, static_cast<std::uint32_t>(code));
      i += hex;
    } else if (const std::size_t at = kFrom.find(kind); at != std::string_view::npos) {
      text += "\n\r\t\b\f\a\v\0\\'\""[at];
    } else if (kind != '\n') {
      text += {'\\', kind};
    }
  }

  void sign(int& open) {
    static constexpr std::array<std::string_view, 6> kTwo = {"==", "!=", "<=", ">=", "//", "**"};
    const std::string two(rest().substr(0, 2));
    if (std::find(kTwo.begin(), kTwo.end(), two) != kTwo.end()) {
      add(Kind::sign, two);
      return skip(2);
    }
    const char c = source_[at_];
    if (std::string_view("+-*/%~<>=.,:|()[]{}").find(c) == std::string_view::npos)
      fail(concat("a template cannot have '", replace_invalid_utf8(std::string(1, c)), "' there"));
    if (std::string_view("([{").find(c) != std::string_view::npos) ++open;
    if (std::string_view(")]}").find(c) != std::string_view::npos && --open < 0)
      fail(concat("'", c, "' closes nothing"));
    add(Kind::sign, std::string(1, c));
    skip(1);
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace mote::text::jinja
