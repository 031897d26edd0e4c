// What is done to text before it is cut: the normalizers of tokenizer.json.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace mote::text {

// Steps, each applied to what the one before made. Valid UTF-8 goes in and comes out. Const calls
// may run at the same time.
class Normalizer {
 public:
  bool empty() const { return steps_.empty(); }
  std::string apply(std::string_view text) const;

  void add_form(NormalForm form);
  void add_lowercase();
  void add_strip(bool left, bool right);  // white space
  void add_strip_accents();               // nonspacing marks
  void add_charsmap(std::string_view blob);
  void add_replace(const std::string& pattern, std::string content);  // a regular expression
  void add_prepend(std::string content);                              // to text that is not empty
  void add_nmt();  // control characters dropped, uncommon spaces made common

 private:
  std::vector<std::function<std::string(std::string_view)>> steps_;
};

}  // namespace mote::text
