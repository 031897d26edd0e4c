#include "checkpoint/hf_config.h"

#include <cmath>

namespace mote::checkpoint {
namespace {

// What transformers writes into every config.json and decides nothing here: names, types, tokens that
// generation reads elsewhere, training, and defaults of its own machinery.
constexpr const char* kIgnored[] = {"_name_or_path",
                                    "architectures",
                                    "attention_dropout",
                                    "bos_token_id",
                                    "dtype",
                                    "eos_token_id",
                                    "initializer_range",
                                    "model_type",
                                    "output_attentions",
                                    "output_hidden_states",
                                    "pad_token_id",
                                    "pretraining_tp",
                                    "return_dict",
                                    "torch_dtype",
                                    "transformers_version",
                                    "use_cache"};

template <class T>
T read_as(const Json& json, const Place& place) {
  T value{};
  from_json(json, value, place);
  return value;
}

// One rope table: rope_parameters, or rope_scaling of version 4.
class Scaling {
 public:
  Scaling(const Json& json, Place place) : json_(json), place_(std::move(place)) {
    if (!json.is_object()) throw_wrong_type(place_, "a table", json);
  }

  bool has(const char* key) const {
    used_.insert(key);
    const auto found = json_.find(key);
    return found != json_.end() && !found->is_null();
  }
  double number(const char* key) const {
    if (!has(key)) throw_config_error(place_.inside(key), "is missing");
    return read_as<double>(json_[key], place_.inside(key));
  }
  double number(const char* key, double otherwise) const {
    return has(key) ? number(key) : otherwise;
  }
  std::int64_t integer(const char* key, std::int64_t otherwise) const {
    return has(key) ? read_as<std::int64_t>(json_[key], place_.inside(key)) : otherwise;
  }
  bool flag(const char* key, bool otherwise) const {
    return has(key) ? read_as<bool>(json_[key], place_.inside(key)) : otherwise;
  }
  std::vector<double> numbers(const char* key) const {
    if (!has(key)) throw_config_error(place_.inside(key), "is missing");
    return read_as<std::vector<double>>(json_[key], place_.inside(key));
  }
  std::string type() const {
    for (const char* key : {"rope_type", "type"})
      if (has(key)) return read_as<std::string>(json_[key], place_.inside(key));
    return "default";
  }
  const Place& place() const { return place_; }
  void check_all_used() const {
    for (const auto& [key, value] : json_.items())
      if (!used_.contains(key) && !value.is_null())
        throw_config_error(place_.inside(key), concat("is ", quoted(value), "; rope type ", type(),
                                                      " does not read it"));
  }

 private:
  const Json& json_;
  const Place place_;
  mutable std::set<std::string> used_;
};

// How much attention is sharpened for a context `factor` times as long (arXiv 2309.00071, eq. 22).
double sharpened(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

std::int64_t original_context(const Scaling& s, std::int64_t context) {
  return s.integer("original_max_position_embeddings", context);
}

void read_scaling(const Scaling& s, std::int64_t context, RotaryConfig& rotary) {
  const std::string type = s.type();
  if (type == "default") return;
  if (type == "linear") {
    rotary.scaling = LinearScaling{s.number("factor")};
  } else if (type == "llama3") {
    rotary.scaling = Llama3Scaling{s.number("factor"), s.number("low_freq_factor"),
                                   s.number("high_freq_factor"), original_context(s, context)};
  } else if (type == "yarn") {
    YarnScaling yarn;
    yarn.factor = s.number("factor");
    yarn.fast = s.number("beta_fast", 32);
    yarn.slow = s.number("beta_slow", 1);
    yarn.context = original_context(s, context);
    yarn.truncate = s.flag("truncate", true);
    const double all = s.number("mscale_all_dim", 0), mscale = s.number("mscale", 0);
    yarn.attention_factor = s.has("attention_factor") ? s.number("attention_factor")
                            : mscale != 0 && all != 0
                                ? sharpened(yarn.factor, mscale) / sharpened(yarn.factor, all)
                                : sharpened(yarn.factor, 1);
    rotary.scaling = yarn;
  } else if (type == "longrope" || type == "su") {
    LongScaling scaling;
    scaling.short_factors = s.numbers("short_factor");
    scaling.long_factors = s.numbers("long_factor");
    scaling.context = original_context(s, context);
    const auto original = static_cast<double>(scaling.context);
    const double factor = s.number("factor", static_cast<double>(context) / original);
    const double usual = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
    const double both = s.number("attention_factor", usual);
    scaling.short_scale = s.number("short_mscale", both);
    scaling.long_scale = s.number("long_mscale", both);
    rotary.scaling = scaling;
  } else {
    throw Error(ErrorKind::unsupported,
                concat(s.place().file, ": ", s.place().key, " is of type '", type,
                       "'; default, linear, llama3, yarn and longrope are read"))
        .in(s.place().file)
        .at(s.place().key);
  }
}

}  // namespace

HfConfig::HfConfig(Json json, std::string file)
    : json_(std::move(json)), place_{std::move(file), ""} {
  if (!json_.is_object()) throw_wrong_type(place_, "a table", json_);
  used_.insert(std::begin(kIgnored), std::end(kIgnored));
}

const Json* HfConfig::find(const std::string& key) const {
  used_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

bool HfConfig::has(const std::string& key) const {
  return find(key) != nullptr;
}

const Json& HfConfig::at(const std::string& key) const {
  const Json* found = find(key);
  if (!found) throw_config_error(place_.inside(key), "is missing");
  return *found;
}

std::int64_t HfConfig::integer(const std::string& key) const {
  return read_as<std::int64_t>(at(key), place_.inside(key));
}
std::int64_t HfConfig::integer(const std::string& key, std::int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}
std::int64_t HfConfig::integer_of(std::initializer_list<const char*> keys) const {
  for (const char* key : keys)
    if (has(key)) return integer(key);
  return integer(*keys.begin());
}
double HfConfig::number(const std::string& key, double otherwise) const {
  return has(key) ? read_as<double>(at(key), place_.inside(key)) : otherwise;
}
bool HfConfig::flag(const std::string& key, bool otherwise) const {
  return has(key) ? read_as<bool>(at(key), place_.inside(key)) : otherwise;
}
std::string HfConfig::word(const std::string& key, const std::string& otherwise) const {
  return has(key) ? read_as<std::string>(at(key), place_.inside(key)) : otherwise;
}

void HfConfig::only(const std::string& key, const Json& value) const {
  const Json* found = find(key);
  if (found && *found != value)
    throw Error(ErrorKind::unsupported, concat(file(), ": ", key, " is ", quoted(*found), ", only ",
                                               quoted(value), " is read of this family"))
        .in(file())
        .at(key);
}

void HfConfig::ignore(std::initializer_list<const char*> keys) const {
  used_.insert(keys.begin(), keys.end());
}

RotaryConfig HfConfig::rotary(double base, std::int64_t context, const char* layer_type) const {
  RotaryConfig rotary;
  const bool named = has("rope_theta");
  rotary.base = number("rope_theta", base);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json* table = find(key);
    if (!table) continue;
    Place place = place_.inside(key);
    if (const auto own = table->find(layer_type); table->is_object() && own != table->end()) {
      table = &*own;
      place = place.inside(layer_type);
    }
    const Scaling scaling(*table, place);
    if (scaling.has("rope_theta")) {
      const double inner = scaling.number("rope_theta");
      if (named && inner != rotary.base)
        throw_config_error(place_.inside("rope_theta"),
                           concat("is ", rotary.base, ", but ", key, ".rope_theta is ", inner));
      rotary.base = inner;
    }
    read_scaling(scaling, context, rotary);
    scaling.check_all_used();
    break;  // where both are written, the older one repeats the newer
  }
  find("rope_scaling");
  return rotary;
}

void HfConfig::check_all_used() const {
  for (const auto& [key, value] : json_.items())
    if (!used_.contains(key) && !value.is_null())
      throw Error(ErrorKind::unsupported,
                  concat(file(), ": ", key, " = ", quoted(value),
                         " is a field that this program does not know of such a model"))
          .in(file())
          .at(key);
}

}  // namespace mote::checkpoint
