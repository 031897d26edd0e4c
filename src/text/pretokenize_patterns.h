// The published patterns that cut text, by the models that they came with.
#pragma once

#include <string>
#include <vector>

#include "text/pretokenize.h"

namespace mote::text {

// Words with one sign before them, numbers of up to three digits.
extern const char* const kLlama3Pattern;
// Words cut where a capital follows a small letter, digits one by one.
extern const char* const kTekkenPattern;

// What GGUF calls a pre-tokenizer.
struct NamedPatterns {
  std::string name;
  std::vector<std::string> patterns;
  bool ignore_merges = false, add_begin = false;
};
const std::vector<NamedPatterns>& named_patterns();

}  // namespace mote::text
