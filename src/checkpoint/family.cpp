#include "checkpoint/family.h"

#include "checkpoint/families/mote.h"

namespace mote::checkpoint {
namespace {

constexpr Family kFamilies[] = {{"mote", read_mote}};

}  // namespace

const Family& family_of(const Json& config, const std::string& file) {
  const auto type = config.find("model_type");
  std::string known;
  for (const Family& family : kFamilies) {
    if (type != config.end() && *type == family.model_type) return family;
    known += concat(known.empty() ? "" : ", ", family.model_type);
  }
  throw Error(ErrorKind::unsupported,
              concat(file, ": model_type is ", type == config.end() ? "missing" : quoted(*type),
                     "; models of these are read: ", known))
      .in(file)
      .at("model_type");
}

}  // namespace mote::checkpoint
