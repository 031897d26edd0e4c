// What templates do with texts: Python's methods of strings.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/given.h"
#include "text/jinja/value.h"

namespace mote::text::jinja {

// Its characters, each of one or more bytes.
std::vector<std::string_view> characters(std::string_view text);
std::string mapped(const std::string& text, bool upper);
std::string capitalized(const std::string& text);
std::string titled(const std::string& text);
enum class Side { both, left, right };
// Without the characters of `set` at its ends, nullptr: without white space.
std::string stripped(const std::string& text, const std::string* set, Side side);
// At most `most` times, -1: all.
std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                     std::int64_t most);
std::string joined(const Items& items, const std::string& separator);
// Not empty, and of these bytes alone.
bool all_of_class(const std::string& text, char least, char most);

using TextMethod = Value (*)(const std::string& text, Given& given);
const std::map<std::string, TextMethod>& text_methods();

}  // namespace mote::text::jinja
