#include "checkpoint/model_config.h"

#include <cmath>
#include <limits>

namespace mote::checkpoint {
namespace {

LayerConfig resolve(const ModelConfig& config, std::int64_t i, const Place& place) {
  LayerConfig layer{config.dropout, config.residual_scale, config.norms, config.attention,
                    config.feed_forward};
  for (std::size_t r = 0; r < config.rules.size(); ++r) {
    const Place rule = place.inside("rules").inside(std::to_string(r));
    const std::vector<std::int64_t> chosen =
        config.rules[r].layers.of(config.layers, rule.inside("layers"));
    if (std::find(chosen.begin(), chosen.end(), i) != chosen.end())
      fields_from_json(config.rules[r].changes, layer, rule);
  }
  return layer;
}

// Columns of the widest matrix, all experts together.
double widest_of(const Mixture& c) {
  return std::max(static_cast<double>(c.experts) * static_cast<double>(c.expert_width),
                  static_cast<double>(c.shared.width));
}
double widest_of(const Dense& c) {
  return static_cast<double>(c.width);
}
double widest_of(const TopK& c) {
  return static_cast<double>(c.width);
}
double widest_of(const ProductKey& c) {
  return static_cast<double>(c.values);
}
double widest_of(const Peer& c) {
  return static_cast<double>(c.experts);
}

void check_at_most(std::int64_t value, const char* name, std::int64_t most, const char* of,
                   const Place& place) {
  if (value > most)
    throw_config_error(place.inside(name), concat("is ", value, ", more than ", of, " = ", most));
}

void check(const Mixture& c, const Place& place) {
  check(c.router, c.experts, place);
  if (!c.gated && to_json(c.unit) != to_json(UnitConfig{}))
    throw_config_error(place.inside("unit"), "is of gated experts, and gated is false");
  if (c.gated && c.key_rank > 0)
    throw_config_error(place.inside("key_rank"),
                       concat("is ", c.key_rank, ", of experts of two matrices; gated is true"));
  if (c.gated && c.router.score.get_if<AvgKScore>())
    throw_config_error(place.inside("router.score.kind"),
                       "is avg_k, of experts of two matrices; gated is true");
  if (c.unit.alpha != 1 && c.activation != NeuronActivation::silu)
    throw_config_error(
        place.inside("unit.alpha"),
        concat("is ", c.unit.alpha, ", of silu; activation is ", enum_name(c.activation)));
  if (c.shared.gated_output && c.shared.width == 0)
    throw_config_error(place.inside("shared.gated_output"), "is true, and shared.width is 0");
}
void check(const Dense&, const Place&) {}
void check(const TopK& c, const Place& place) {
  check_at_most(c.units_per_token, "units_per_token", c.width, "feed_forward.width", place);
}

// Of `count` experts, the field `name`.
void check(const ProductKeyRouter& router, std::int64_t count, const char* name,
           const Place& place) {
  const std::int64_t root = std::llround(std::sqrt(static_cast<double>(count)));
  if (root * root != count)
    throw_config_error(place.inside(name),
                       concat("is ", count,
                              ", which is no square number: product keys are pairs of "
                              "one of n halves and one of n others; take ",
                              root * root, " or ", (root + 1) * (root + 1)));
  check_at_most(router.experts_per_head, "router.experts_per_head", count,
                concat("feed_forward.", name).c_str(), place);
  if (const auto* linear = router.query.get_if<LinearQuery>(); linear && linear->key_dim % 2 != 0)
    throw_config_error(place.inside("router.query.key_dim"),
                       concat("is ", linear->key_dim, "; two halves need an even number"));
}
void check(const ProductKey& c, const Place& place) {
  check(c.router, c.values, "values", place);
  if (c.mode == MemoryMode::dense_head_sum && c.value_init == ValueInit::picks)
    throw_config_error(
        place.inside("value_init"),
        "is picks, but with mode = \"dense_head_sum\" nothing is picked; take dim or "
        "values");
}
void check(const Peer& c, const Place& place) {
  check(c.router, c.experts, "experts", place);
}

void check(const TransformerXl&, const Place&) {}
void check(const Causal&, const Place&) {}
void check(const Rotary& c, const Place& place) {
  if (c.heads % c.key_heads != 0)
    throw_config_error(place.inside("key_heads"),
                       concat("is ", c.key_heads, ", which does not divide heads = ", c.heads));
  check(c.rotary, c.head_dim, place.inside("rotary"));
}
void check(const Bucketed& c, const Place& place) {
  if (c.buckets % 4 != 0)
    throw_config_error(place.inside("buckets"),
                       concat("is ", c.buckets,
                              "; two directions and two kinds of buckets need a "
                              "multiple of 4"));
  if (c.max_distance <= c.buckets / 2)
    throw_config_error(place.inside("max_distance"),
                       concat("is ", c.max_distance, "; with buckets = ", c.buckets,
                              " it is more than ", c.buckets / 2));
}
void check(const Latent& c, const Place& place) {
  if (c.rope_dim >= c.head_dim)
    throw_config_error(place.inside("rope_dim"),
                       concat("is ", c.rope_dim, ", head_dim is ", c.head_dim,
                              "; some of its columns are not turned"));
  if (c.rotary.dim != 0)
    throw_config_error(place.inside("rotary.dim"),
                       concat("is ", c.rotary.dim, "; rope_dim says how many columns are turned"));
  check(c.rotary, c.rope_dim, place.inside("rotary"));
}

void validate_layer(const ModelConfig& model, const LayerConfig& layer, const Place& place) {
  layer.attention.visit([&](const auto& kind) { check(kind, place.inside("attention")); });
  layer.feed_forward.visit([&](const auto& kind) { check(kind, place.inside("feed_forward")); });
  if (const auto* mixture = layer.feed_forward.get_if<Mixture>();
      mixture && mixture->key_rank > model.dim)
    throw_config_error(place.inside("feed_forward.key_rank"),
                       concat("is ", mixture->key_rank, ", more than dim = ", model.dim,
                              "; take 0 for matrices of whole rank"));
  if (model.positions == Positions::learned && layer.attention.get_if<TransformerXl>())
    throw_config_error(place.inside("attention.kind"),
                       "is transformer_xl, which has positions of its own, but positions is "
                       "learned; choose causal, or positions = \"none\"");
}

// Layers that have a place of their own: without rules all are alike.
std::int64_t distinct_layers(const ModelConfig& config) {
  return config.rules.empty() ? 1 : config.layers;
}

const RecurrentScore* recurrent_score(const LayerConfig& layer) {
  const auto* mixture = layer.feed_forward.get_if<Mixture>();
  return mixture ? mixture->router.score.get_if<RecurrentScore>() : nullptr;
}

// What `why` says of the layers, each sentence once, with the first layer that it is said of.
template <class Why>
std::vector<std::string> said_of_layers(const ModelConfig& config, const Why& why) {
  std::vector<std::string> sentences, said;
  for (std::int64_t i = 0; i < distinct_layers(config); ++i) {
    const std::string sentence =
        layer_config(config, i).feed_forward.visit([&](const auto& kind) { return why(kind); });
    if (sentence.empty() || std::find(said.begin(), said.end(), sentence) != said.end()) continue;
    said.push_back(sentence);
    sentences.push_back(concat(config.rules.empty() ? std::string() : concat("layer ", i, ", "),
                               "feed_forward.router: ", sentence));
  }
  return sentences;
}

struct WhyItCannotLearn {
  std::string operator()(const Mixture& c) const {
    return why_it_cannot_learn(c.router, c.experts);
  }
  std::string operator()(const ProductKey& c) const {
    return c.mode == MemoryMode::dense_head_sum ? "" : of(c.router);  // all gates are used there
  }
  std::string operator()(const Peer& c) const { return of(c.router); }
  std::string operator()(const Dense&) const { return ""; }
  std::string operator()(const TopK&) const { return ""; }

 private:
  static std::string of(const ProductKeyRouter& r) {
    const bool one =
        r.experts_per_head == 1 &&
        (r.gate == LookupGate::softmax || (r.gate == LookupGate::softmax_joint && r.heads == 1));
    return one ? concat("gate ", enum_name(r.gate),
                        " of experts_per_head = 1 is always 1; queries and keys stay as they start")
               : "";
  }
};

}  // namespace

LayerConfig layer_config(const ModelConfig& config, std::int64_t i) {
  return resolve(config, i, {"config", ""});
}

bool reads_source(const ModelConfig& config) {
  return config.encoder.layers > 0;
}

ModelConfig encoder_of(const ModelConfig& config) {
  ModelConfig encoder = config;
  encoder.layers = config.encoder.layers;
  encoder.context = config.encoder.context;
  encoder.rules = config.encoder.rules;
  encoder.encoder = {};
  return encoder;
}

void validate(const ModelConfig& config, const Place& place) {
  if (config.vocab_size < 1)
    throw_config_error(place.inside("vocab_size"),
                       concat("is ", config.vocab_size, "; a model needs tokens"));
  validate_layers(config, place);
  for (std::int64_t i = 0; i < distinct_layers(config); ++i) {
    const LayerConfig layer = resolve(config, i, place);
    if (const auto* mixture = layer.feed_forward.get_if<Mixture>())
      check_vocabulary(mixture->router, config.vocab_size, place.inside("feed_forward"));
  }
  if (reads_source(config)) validate(encoder_of(config), place.inside("encoder"));
}

namespace {

// Blocks of a stack share one table of distances, so all are alike.
void check_buckets(const ModelConfig& config, const Place& place) {
  const auto table_of = [&](std::int64_t i) {
    const LayerConfig layer = resolve(config, i, place);
    const auto* bucketed = layer.attention.get_if<Bucketed>();
    return bucketed ? to_json(*bucketed) : Json();
  };
  const Json table = table_of(0);
  for (std::int64_t i = 1; i < distinct_layers(config); ++i) {
    if (table_of(i) != table)
      throw_config_error(place.inside("attention"),
                         concat("of layer ", i,
                                " is another than that of layer 0; with bucketed "
                                "attention all layers share one table of "
                                "distances"));
  }
}

bool is_bucketed(const LayerConfig& layer) {
  return layer.attention.get_if<Bucketed>() != nullptr;
}

void check_encoder(const ModelConfig& config, const Place& place) {
  if (!reads_source(config)) {
    if (!config.encoder.rules.empty())
      throw_config_error(place.inside("encoder.rules"), "is given, and encoder.layers is 0");
    return;
  }
  if (!is_bucketed(resolve(config, 0, place)) ||
      !is_bucketed(resolve(encoder_of(config), 0, place.inside("encoder"))))
    throw_config_error(place.inside("attention.kind"),
                       "is not bucketed, the only kind that an encoder and what attends to it "
                       "have; or take encoder.layers = 0");
  if (config.positions != Positions::none)
    throw_config_error(place.inside("positions"),
                       "is learned; an encoder-decoder has attention.kind bucketed instead");
  for (const auto& [side, where] :
       {std::pair{config, place}, std::pair{encoder_of(config), place.inside("encoder")}})
    if (router_state_dim(side) > 0)
      throw_config_error(where.inside("feed_forward.router.score.kind"),
                         "is recurrent, which an encoder-decoder does not have");
}

}  // namespace

void validate_layers(const ModelConfig& config, const Place& place) {
  check_encoder(config, place);
  if (reads_source(config)) validate_layers(encoder_of(config), place.inside("encoder"));
  check_buckets(config, place);
  if (config.head.bias && config.head.scale != 1)
    throw_config_error(place.inside("head.scale"),
                       concat("is ", config.head.scale, ", and head.bias is true; take one"));
  if (config.dim % 2 != 0)
    throw_config_error(place.inside("dim"),
                       concat("is ", config.dim, "; sines and cosines need an even number"));
  constexpr double kMostParameters = 1e15;
  double columns = static_cast<double>(config.vocab_size);
  std::int64_t state_dim = 0;
  for (std::int64_t i = 0; i < distinct_layers(config); ++i) {
    const LayerConfig layer = resolve(config, i, place);
    validate_layer(config, layer, place);
    if (const RecurrentScore* recurrent = recurrent_score(layer)) {
      if (state_dim != 0 && recurrent->state_dim != state_dim)
        throw_config_error(place.inside("feed_forward.router.score.state_dim"),
                           concat("is ", recurrent->state_dim, " in layer ", i, ", ", state_dim,
                                  " before it; all layers share one cell"));
      state_dim = recurrent->state_dim;
    }
    const double inner =
        static_cast<double>(heads_of(layer.attention)) *
        static_cast<double>(std::max(head_dim_of(layer.attention), value_dim_of(layer.attention)));
    columns =
        std::max({columns, inner,
                  layer.feed_forward.visit([](const auto& kind) { return widest_of(kind); })});
  }
  const double parameters =
      static_cast<double>(config.layers) * static_cast<double>(config.dim) * columns;
  if (parameters > kMostParameters)
    throw_config_error(place.inside("dim"),
                       concat("is ", config.dim, "; with ", config.layers, " layers and ", columns,
                              " columns that is more than 1e15 parameters"));
}

std::vector<std::string> training_warnings(const ModelConfig& config) {
  std::vector<std::string> warnings = said_of_layers(config, WhyItCannotLearn{});
  if (reads_source(config))
    for (const std::string& warning : training_warnings(encoder_of(config)))
      warnings.push_back("encoder, " + warning);
  return warnings;
}

std::vector<std::string> causality_warnings(const ModelConfig& config) {
  return said_of_layers(config, [](const auto& kind) -> std::string {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(kind)>, Mixture>) {
      const std::string why = why_not_causal(kind.router);
      return why.empty() ? why_step_matters(kind.router) : why;
    } else {
      return "";
    }
  });
}

std::string why_no_generation(const ModelConfig& config) {
  const std::vector<std::string> why = said_of_layers(config, [](const auto& kind) -> std::string {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(kind)>, Mixture>)
      return why_not_causal(kind.router);
    else
      return "";
  });
  return why.empty() ? "" : why.front();
}

std::int64_t router_state_dim(const ModelConfig& config) {
  for (std::int64_t i = 0; i < distinct_layers(config); ++i) {
    const LayerConfig layer = layer_config(config, i);
    if (const RecurrentScore* recurrent = recurrent_score(layer)) return recurrent->state_dim;
  }
  return 0;
}

std::int64_t most_positions(const ModelConfig& config) {
  return config.positions == Positions::learned ? config.context
                                                : std::numeric_limits<std::int64_t>::max();
}

bool sees_everything(const ModelConfig& config) {
  return config.positions == Positions::none && !config.attention.get_if<TransformerXl>();
}

std::int64_t heads_of(const AttentionConfig& attention) {
  return attention.visit([](const auto& kind) { return kind.heads; });
}
std::int64_t head_dim_of(const AttentionConfig& attention) {
  return attention.visit([](const auto& kind) { return kind.head_dim; });
}
std::int64_t value_dim_of(const AttentionConfig& attention) {
  const auto* latent = attention.get_if<Latent>();
  return latent ? latent->value_dim : head_dim_of(attention);
}
std::int64_t key_heads_of(const AttentionConfig& attention) {
  const auto* rotary = attention.get_if<Rotary>();
  return rotary ? rotary->key_heads : heads_of(attention);
}

}  // namespace mote::checkpoint
