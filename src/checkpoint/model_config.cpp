#include "checkpoint/model_config.h"

#include <limits>

namespace mote::checkpoint {
namespace {

LayerConfig resolve(const ModelConfig& config, std::int64_t i, const Place& place) {
  LayerConfig layer{config.dropout, config.attention, config.feed_forward};
  for (std::size_t r = 0; r < config.rules.size(); ++r) {
    const Place rule = place.inside("rules").inside(std::to_string(r));
    const std::vector<std::int64_t> chosen =
        config.rules[r].layers.of(config.layers, rule.inside("layers"));
    if (std::find(chosen.begin(), chosen.end(), i) != chosen.end())
      fields_from_json(config.rules[r].changes, layer, rule);
  }
  return layer;
}

double widest_of(const FeedForwardConfig& feed_forward) {
  if (const auto* mixture = feed_forward.get_if<Mixture>())
    return static_cast<double>(mixture->experts) * static_cast<double>(mixture->expert_width);
  return static_cast<double>(feed_forward.get_if<Dense>()->width);
}

void validate_layer(const ModelConfig& model, const LayerConfig& layer, const Place& place) {
  if (const auto* mixture = layer.feed_forward.get_if<Mixture>();
      mixture && mixture->router.experts_per_token > mixture->experts)
    throw_config_error(place.inside("feed_forward.router.experts_per_token"),
                       concat("is ", mixture->router.experts_per_token,
                              ", more than feed_forward.experts = ", mixture->experts));
  if (model.positions == Positions::learned && layer.attention.get_if<TransformerXl>())
    throw_config_error(place.inside("attention.kind"),
                       "is transformer_xl, which has positions of its own, but positions is "
                       "learned; choose causal, or positions = \"none\"");
}

}  // namespace

LayerConfig layer_config(const ModelConfig& config, std::int64_t i) {
  return resolve(config, i, {"config", ""});
}

void validate(const ModelConfig& config, const Place& place) {
  if (config.dim % 2 != 0)
    throw_config_error(place.inside("dim"),
                       concat("is ", config.dim, "; sines and cosines need an even number"));
  if (config.vocab_size < 1)
    throw_config_error(place.inside("vocab_size"),
                       concat("is ", config.vocab_size, "; a model needs tokens"));
  constexpr double kMostParameters = 1e15;
  double columns = static_cast<double>(config.vocab_size);
  // Without rules all layers are alike.
  for (std::int64_t i = 0; i < (config.rules.empty() ? 1 : config.layers); ++i) {
    const LayerConfig layer = resolve(config, i, place);
    validate_layer(config, layer, place);
    const double inner = static_cast<double>(heads_of(layer.attention)) *
                         static_cast<double>(head_dim_of(layer.attention));
    columns = std::max({columns, inner, widest_of(layer.feed_forward)});
  }
  const double parameters =
      static_cast<double>(config.layers) * static_cast<double>(config.dim) * columns;
  if (parameters > kMostParameters)
    throw_config_error(place.inside("dim"),
                       concat("is ", config.dim, "; with ", config.layers, " layers and ", columns,
                              " columns that is more than 1e15 parameters"));
}

std::int64_t most_positions(const ModelConfig& config) {
  return config.positions == Positions::learned ? config.context
                                                : std::numeric_limits<std::int64_t>::max();
}

std::int64_t heads_of(const AttentionConfig& attention) {
  return attention.visit([](const auto& kind) { return kind.heads; });
}
std::int64_t head_dim_of(const AttentionConfig& attention) {
  return attention.visit([](const auto& kind) { return kind.head_dim; });
}

}  // namespace mote::checkpoint
