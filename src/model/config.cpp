#include "model/config.h"

#include <algorithm>

namespace mote::model {

void validate(const ModelConfig& config, const Place& place) {
  const auto refuse = [&](const char* key, const std::string& what) {
    throw_config_error(place.inside(key), what);
  };
  const FeedForwardConfig& ff = config.feed_forward;
  constexpr double kMostParameters = 1e15;
  const auto layers = static_cast<double>(config.layers), dim = static_cast<double>(config.dim);
  const double widest = std::max(
      {static_cast<double>(config.attention.heads) * static_cast<double>(config.attention.head_dim),
       static_cast<double>(ff.experts) * static_cast<double>(ff.expert_width),
       static_cast<double>(ff.width), static_cast<double>(config.vocab_size)});
  if (layers * dim * widest > kMostParameters)
    refuse("dim", concat("is ", config.dim, "; with ", config.layers, " layers and ", widest,
                         " columns that is more than 1e15 parameters"));
  if (config.dim % 2 != 0)
    refuse("dim", concat("is ", config.dim, "; sines and cosines need an even number"));
  if (config.vocab_size < 1)
    refuse("vocab_size", concat("is ", config.vocab_size, "; a model needs tokens"));
  if (ff.kind == FeedForwardKind::dense && ff.width < 1)
    refuse("feed_forward.width",
           concat("is ", ff.width, "; a dense layer needs a width of at least 1"));
  if (ff.kind == FeedForwardKind::sigma_moe && ff.experts_per_token > ff.experts)
    refuse("feed_forward.experts_per_token",
           concat("is ", ff.experts_per_token, ", more than feed_forward.experts = ", ff.experts));
  if (config.attention.bias && config.attention.kind == AttentionKind::transformer_xl)
    refuse("attention.bias", "is true, but attention.kind = transformer_xl has no biases");
  if (config.attention.kind == AttentionKind::absolute && config.attention.memory_blocks != 0)
    refuse("attention.memory_blocks",
           concat("is ", config.attention.memory_blocks,
                  ", but attention.kind = absolute has no memory: set it to 0"));
}

ParameterCounts count_parameters(const ModelConfig& c) {
  const std::int64_t inner = c.attention.heads * c.attention.head_dim;
  const bool xl = c.attention.kind == AttentionKind::transformer_xl;
  const std::int64_t attention =
      xl ? 5 * c.dim * inner + 2 * inner + 1
         : 4 * c.dim * inner + (c.attention.bias ? 3 * inner + c.dim : 0);
  const FeedForwardConfig& ff = c.feed_forward;
  std::int64_t all = 0, active = 0;
  if (ff.kind == FeedForwardKind::dense) {
    all = active = 2 * c.dim * ff.width + ff.width + c.dim;
  } else {
    const std::int64_t router = c.dim * ff.experts, expert = 2 * c.dim * ff.expert_width;
    all = router + ff.experts * expert;
    active = router + ff.experts_per_token * expert;
  }
  const std::int64_t rest = c.layers * (attention + 4 * c.dim) + 2 * c.vocab_size * c.dim +
                            (c.head_bias ? c.vocab_size : 0) + 2 * c.dim +
                            (xl ? 0 : c.context * c.dim);
  ParameterCounts counts;
  counts.feed_forward = c.layers * all;
  counts.feed_forward_active = c.layers * active;
  counts.total = rest + counts.feed_forward;
  counts.active = rest + counts.feed_forward_active;
  return counts;
}

}  // namespace mote::model
