#include "text/normalize.h"

#include <memory>

#include "base/check.h"
#include "text/charsmap.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

// A file may ask for texts without end. What the standard forms make is at most 18 times as long.
void check_growth(std::size_t now, std::size_t before) {
  constexpr std::size_t kMostGrowth = 64, kSmall = 4096;
  MOTE_CHECK(now / kMostGrowth <= before + kSmall, "the tokenizer's normalizer makes ", now,
             " bytes of ", before, "; its replacements are too long");
}

// Where the last character of `text`, which is not empty, begins.
std::size_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

// The characters of `text` that each(code, result) puts there.
template <class Each>
std::string by_characters(std::string_view text, const Each& each) {
  std::string result;
  while (!text.empty()) {
    each(first_code_point(text), result);
    text.remove_prefix(first_sequence(text).length);
  }
  return result;
}

}  // namespace

std::string Normalizer::apply(std::string_view text) const {
  std::string result(text);
  for (const auto& step : steps_) {
    result = step(result);
    check_growth(result.size(), text.size());
  }
  return result;
}

void Normalizer::add_form(NormalForm form) {
  steps_.push_back([form](std::string_view text) { return normal_form(text, form); });
}

void Normalizer::add_lowercase() {
  steps_.push_back([](std::string_view text) { return lowercase(text); });
}

void Normalizer::add_strip(bool left, bool right) {
  steps_.push_back([left, right](std::string_view text) {
    while (left && !text.empty() && is_white_space(first_code_point(text)))
      text.remove_prefix(first_sequence(text).length);
    while (right && !text.empty() &&
           is_white_space(first_code_point(text.substr(last_character(text)))))
      text = text.substr(0, last_character(text));
    return std::string(text);
  });
}

void Normalizer::add_strip_accents() {
  steps_.push_back([](std::string_view text) {
    return by_characters(text, [](std::uint32_t code, std::string& result) {
      if (!is_mark(code)) append_utf8(result, code);
    });
  });
}

void Normalizer::add_charsmap(std::string_view blob) {
  const auto table = std::make_shared<const Charsmap>(blob);
  steps_.push_back([table](std::string_view text) { return table->apply(text); });
}

void Normalizer::add_replace(const std::string& pattern, std::string content) {
  const auto regex = std::make_shared<const Regex>(pattern);
  steps_.push_back([regex, content = std::move(content)](std::string_view text) {
    const auto scratch = regex->scratch();
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
      const auto [begin, end] = regex->find(text, at, *scratch);
      result += text.substr(at, begin - at);
      if (begin < end) result += content;
      check_growth(result.size(), text.size());
      at = end;
    }
    return result;
  });
}

void Normalizer::add_prepend(std::string content) {
  steps_.push_back([content = std::move(content)](std::string_view text) {
    return text.empty() ? std::string() : content + std::string(text);
  });
}

void Normalizer::add_nmt() {
  steps_.push_back([](std::string_view text) {
    return by_characters(text, [](std::uint32_t code, std::string& result) {
      const bool dropped = (code >= 1 && code <= 8) || code == 0xB ||
                           (code >= 0xE && code <= 0x1F) || code == 0x7F || code == 0x8F ||
                           code == 0x9F;
      const bool space = code == 9 || code == 0xA || code == 0xC || code == 0xD || code == 0x1680 ||
                         (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 ||
                         code == 0x2581 || code == 0xFEFF || code == 0xFFFD;
      if (!dropped) append_utf8(result, space ? ' ' : code);
    });
  });
}

}  // namespace mote::text
