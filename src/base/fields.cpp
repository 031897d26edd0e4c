#include "base/fields.h"

#include <cmath>

namespace mote {

std::string quoted(const Json& value) {
  if (value.is_structured()) return concat("an ", value.type_name());
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 40) + "..." : text;
}

std::string range_text(double least, double most) {
  const bool low = std::isfinite(least), high = std::isfinite(most);
  return low && high ? concat(least, " to ", most)
         : low       ? concat(least, " or more")
         : high      ? concat("up to ", most)
                     : "";
}

std::string to_text(const FieldLine& line) {
  return concat(line.key, line.value ? " = " + line.value->dump() : "", "  # ", line.help,
                line.range.empty() ? "" : " (" + line.range + ")");
}

void throw_config_error(const Place& place, const std::string& what) {
  throw Error(ErrorKind::config, concat(place.file, ": '", place.key, "' ", what))
      .in(place.file)
      .at(place.key);
}

void throw_wrong_type(const Place& place, const char* wanted, const Json& found) {
  throw_config_error(place, concat("must be ", wanted, ", found ", quoted(found)));
}

}  // namespace mote
