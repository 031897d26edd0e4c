// JSON as text that is valid UTF-8: other bytes, as a file's name may have, become U+FFFD.
#pragma once

#include <string>

#include "base/fields.h"

namespace mote {

// On one line, or indented by that many spaces.
inline std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mote
