#include "base/json_text.h"

#include "base/file.h"

namespace mote {

Json read_json_object(const std::string& path) {
  constexpr int kDeepest = 64;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::file, concat(path, ": ", what)).in(path);
  };
  Json json;
  try {
    json = Json::parse(read_file(path), [&](int depth, Json::parse_event_t, const Json&) {
      if (depth > kDeepest) refuse(concat("is nested deeper than ", kDeepest, " levels"));
      return true;
    });
  } catch (const Json::exception& error) {
    refuse(error.what());
  }
  if (!json.is_object()) refuse("is not a JSON object");
  return json;
}

}  // namespace mote
