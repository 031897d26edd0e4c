#include "base/fields.h"

namespace mote {

void throw_config_error(const Place& place, const std::string& what) {
  throw Error(ErrorKind::config, concat(place.file, ": '", place.key, "' ", what))
      .in(place.file)
      .at(place.key);
}

void throw_wrong_type(const Place& place, const char* wanted, const Json& found) {
  std::string text = found.dump();
  if (text.size() > 40) text = text.substr(0, 40) + "...";
  throw_config_error(place, concat("must be ", wanted, ", found ", text));
}

}  // namespace mote
