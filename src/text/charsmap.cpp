#include "text/charsmap.h"

#include "base/check.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

std::uint32_t read_u32(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(bytes[at + i]);
  return value;
}

bool has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & 0x7FFFFFFF;
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & 0x800000FF;
}
std::uint32_t offset_of(std::uint32_t unit) {
  return unit >> 10 << ((unit & 0x200) >> 6);
}

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  MOTE_CHECK(blob.size() >= 8, "a table of characters of ", blob.size(), " bytes is too small");
  const std::uint32_t size = read_u32(blob, 0);
  MOTE_CHECK(size % 4 == 0 && size >= 4 && size < blob.size() - 4, "the table's trie has ", size,
             " bytes of ", blob.size() - 4);
  for (std::size_t at = 4; at < size + 4; at += 4) units_.push_back(read_u32(blob, at));
  replacements_ = blob.substr(size + 4);
  MOTE_CHECK(replacements_.back() == '\0', "the table's last replacement is cut off");
  MOTE_CHECK(valid_utf8_prefix(replacements_) == replacements_.size(),
             "the table's replacements are not UTF-8 from byte ", valid_utf8_prefix(replacements_));
  // Whatever bytes are looked up, no step leaves the array and no value the replacements.
  for (std::size_t at = 0; at < units_.size(); ++at) {
    if (units_[at] >> 31 != 0) {
      const std::size_t begin = value_of(units_[at]);
      MOTE_CHECK(begin < replacements_.size() &&
                     (static_cast<std::uint8_t>(replacements_[begin]) & 0xC0) != 0x80,
                 "unit ", at, " of the table points at byte ", begin, " of ", replacements_.size(),
                 ", where no replacement begins");
    } else {
      MOTE_CHECK(((at ^ offset_of(units_[at])) | 0xFF) < units_.size(), "unit ", at,
                 " of the table leads out of its ", units_.size(), " units");
      MOTE_CHECK(!has_leaf(units_[at]) || units_[at ^ offset_of(units_[at])] >> 31 != 0, "unit ",
                 at, " of the table ends a text and has no replacement");
    }
  }
}

std::optional<std::string_view> Charsmap::replacement(std::string_view text) const {
  std::size_t at = offset_of(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    at ^= byte;
    if (byte == 0 || label_of(units_[at]) != byte) return std::nullopt;
    const bool leaf = has_leaf(units_[at]);
    at ^= offset_of(units_[at]);
    if (!leaf) continue;
    const std::size_t begin = value_of(units_[at]);
    return std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
  }
  return std::nullopt;
}

std::string Charsmap::apply(std::string_view text) const {
  constexpr std::size_t kLongCluster = 6;
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::string_view cluster = text.substr(0, first_grapheme(text));
    text.remove_prefix(cluster.size());
    if (cluster.size() < kLongCluster) {
      if (const auto whole = replacement(cluster)) {
        result += *whole;
        continue;
      }
    }
    for (std::string_view rest = cluster; !rest.empty();) {
      const std::string_view character = rest.substr(0, first_sequence(rest).length);
      result += replacement(character).value_or(character);
      rest.remove_prefix(character.size());
    }
  }
  return result;
}

}  // namespace mote::text
