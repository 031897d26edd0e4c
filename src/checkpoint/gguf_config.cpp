#include "checkpoint/gguf_config.h"

#include <cmath>

#include "checkpoint/refuse.h"

namespace mote::checkpoint {

GgufConfig::GgufConfig(const GgufSource& file)
    : keys_(file.keys()),
      file_(file.path().string()),
      architecture_(keys_.text("general.architecture")) {}

bool GgufConfig::has(const std::string& name) const {
  used_.insert(full(name));
  return keys_.has(full(name));
}

std::int64_t GgufConfig::integer(const std::string& name) const {
  used_.insert(full(name));
  return keys_.integer(full(name));
}

std::int64_t GgufConfig::integer(const std::string& name, std::int64_t otherwise) const {
  return has(name) ? integer(name) : otherwise;
}

double GgufConfig::number(const std::string& name) const {
  used_.insert(full(name));
  return keys_.number(full(name));
}

double GgufConfig::number(const std::string& name, double otherwise) const {
  return has(name) ? number(name) : otherwise;
}

bool GgufConfig::flag(const std::string& name, bool otherwise) const {
  return has(name) ? keys_.boolean(full(name)) : otherwise;
}

std::string GgufConfig::text(const std::string& name, const std::string& otherwise) const {
  return has(name) ? std::string(keys_.text(full(name))) : otherwise;
}

std::int64_t GgufConfig::per_layer(const std::string& name, std::int64_t count,
                                   std::int64_t otherwise) const {
  if (!has(name)) return otherwise;
  if (!keys_.find(full(name))->is_array) return integer(name);
  const std::vector<std::int64_t> each = keys_.integers(full(name));
  if (static_cast<std::int64_t>(each.size()) != count)
    refuse(name, concat("has ", each.size(), " numbers for ", count, " layers"));
  for (const std::int64_t value : each)
    if (value != each.front())
      refuse(name, concat("is ", each.front(), " in one layer and ", value,
                          " in another; models whose layers differ so are not read"));
  return each.empty() ? otherwise : each.front();
}

void GgufConfig::only(const std::string& name, std::int64_t value) const {
  if (has(name) && integer(name) != value)
    refuse(name, concat("is ", integer(name), "; of ", architecture_, " only ", value, " is read"));
}

void GgufConfig::ignore(std::initializer_list<const char*> names) const {
  for (const char* name : names) used_.insert(full(name));
}

void GgufConfig::refuse(const std::string& name, const std::string& what) const {
  refuse_file(file_, full(name), concat("key '", full(name), "' ", what), ErrorKind::unsupported);
}

RotaryConfig GgufConfig::rotary(double base, std::int64_t context) const {
  RotaryConfig rotary;
  rotary.base = number("rope.freq_base", base);
  rotary.dim = integer("rope.dimension_count", 0);
  const std::string type = text("rope.scaling.type", has("rope.scale_linear") ? "linear" : "none");
  if (type == "none") {
    ignore({"rope.scaling.factor", "rope.scaling.original_context_length"});
    return rotary;
  }
  const double factor = number("rope.scaling.factor", number("rope.scale_linear", 1));
  if (type == "linear") {
    rotary.scaling = LinearScaling{factor};
    ignore({"rope.scaling.original_context_length"});
  } else if (type == "yarn") {
    YarnScaling yarn;
    yarn.factor = factor;
    yarn.context = integer("rope.scaling.original_context_length", context);
    yarn.fast = number("rope.scaling.yarn_beta_fast", yarn.fast);
    yarn.slow = number("rope.scaling.yarn_beta_slow", yarn.slow);
    yarn.attention_factor =
        number("rope.scaling.attn_factor", 1) * (factor <= 1 ? 1 : 0.1 * std::log(factor) + 1);
    rotary.scaling = yarn;
  } else {
    refuse("rope.scaling.type", concat("is '", type, "'; none, linear and yarn are read"));
  }
  return rotary;
}

void GgufConfig::check_all_used() const {
  for (const auto& [key, value] : keys_.all())
    if (key.starts_with(architecture_ + ".") && !used_.contains(key))
      refuse(key.substr(architecture_.size() + 1),
             concat("= ", to_json(value, 8).dump(), " is one that this program does not know of ",
                    "such a model"));
}

}  // namespace mote::checkpoint
