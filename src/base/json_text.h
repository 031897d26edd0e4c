// JSON to and from text. Written text is valid UTF-8: other bytes, as a file's name may have,
// become U+FFFD.
#pragma once

#include <string>

#include "base/fields.h"

namespace mote {

// On one line, or indented by that many spaces.
inline std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// What a parser found wrong, without its own names: "is not JSON: line 1, column 2: ...".
std::string json_problem(const nlohmann::detail::exception& error);

// The JSON object that a file holds. Throws a file error that names it for anything else, and for
// values nested deeper than any config is (copying them would take a recursion of that depth) and
// for more bytes or keys than settings have (base/file.h).
Json read_json_object(const std::string& path);

// The same for lists of a million names, without the order of the keys.
nlohmann::json read_json_index(const std::string& path);
nlohmann::json parse_json_index(const std::string& text, const std::string& path);

}  // namespace mote
