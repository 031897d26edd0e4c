// SentencePiece's compiled table of replacements (precompiled_charsmap): a u32, the bytes of a
// double array, little-endian; the array's u32 units, a trie of what is replaced; then the
// replacements, each ended by a zero byte, which the trie's leaves point at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mote::text {

class Charsmap {
 public:
  // Throws Error(value) for a blob that is not such a table.
  explicit Charsmap(std::string_view blob);

  // As the tokenizers library does it: a grapheme cluster of less than six bytes by its shortest
  // prefix in the table, other clusters character by character.
  std::string apply(std::string_view text) const;

 private:
  // What the shortest prefix of `text` in the table becomes.
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace mote::text
