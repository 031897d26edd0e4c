// Every size and choice of a language model, validated once. Written as config.json beside the
// weights.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "base/fields.h"

namespace mote::model {

enum class AttentionKind { transformer_xl, absolute };
enum class FeedForwardKind { dense, sigma_moe };

// The upper limits of sizes are far above any model; they and validate() keep a hostile config.json
// from numbers that overflow or objects that fill the memory.
struct AttentionConfig {
  AttentionKind kind = AttentionKind::transformer_xl;
  std::int64_t heads = 8;
  std::int64_t head_dim = 32;
  bool bias = false;  // absolute only: the published Transformer-XL has none
  std::int64_t memory_blocks = 1;
  std::int64_t eval_memory_blocks = 4;

  static auto fields() {
    using C = AttentionConfig;
    return std::tuple{
        Field{&C::kind, "kind", "relative positions and memory, or learned absolute positions"},
        Field{&C::heads, "heads", "attention heads", 1.0, 1e5},
        Field{&C::head_dim, "head_dim", "width of a head", 1.0, 1e5},
        Field{&C::bias, "bias", "biases in the projections (absolute only)"},
        Field{&C::memory_blocks, "memory_blocks", "blocks remembered in training", 0.0, 1e6},
        Field{&C::eval_memory_blocks, "eval_memory_blocks", "blocks remembered elsewhere", 0.0,
              1e6}};
  }
};

struct FeedForwardConfig {
  FeedForwardKind kind = FeedForwardKind::sigma_moe;
  std::int64_t width = 0;  // dense
  std::int64_t experts = 16;
  std::int64_t expert_width = 128;
  std::int64_t experts_per_token = 4;
  double expert_dropout = 0;
  double entropy_weight = 0;

  static auto fields() {
    using C = FeedForwardConfig;
    return std::tuple{
        Field{&C::kind, "kind", "one dense layer or a mixture of experts"},
        Field{&C::width, "width", "hidden width of a dense layer", 0.0, 1e8},
        Field{&C::experts, "experts", "experts per layer (E)", 1.0, 1e8},
        Field{&C::expert_width, "expert_width", "hidden width of an expert (G)", 1.0, 1e6},
        Field{&C::experts_per_token, "experts_per_token", "experts a token uses (K)", 1.0, 1e8},
        Field{&C::expert_dropout, "expert_dropout",
              "share of experts hidden from a token in training (delta)", 0.0, 1.0},
        Field{&C::entropy_weight, "entropy_weight", "weight of the entropy regulariser (gamma)",
              0.0}};
  }
};

struct ModelConfig {
  std::int64_t vocab_size = 0;
  std::int64_t layers = 4;
  std::int64_t dim = 256;
  std::int64_t context = 256;
  double dropout = 0;
  bool head_bias = true;
  AttentionConfig attention;
  FeedForwardConfig feed_forward;

  static auto fields() {
    using C = ModelConfig;
    return std::tuple{
        Field{&C::vocab_size, "vocab_size", "tokens (set from the tokenizer)", 0.0, 1e8},
        Field{&C::layers, "layers", "blocks (L)", 1.0, 1e4},
        Field{&C::dim, "dim", "width of the residual stream (d)", 1.0, 1e6},
        Field{&C::context, "context", "tokens of a block (T)", 1.0, 1e8},
        Field{&C::dropout, "dropout", "dropout rate in training", 0.0, 0.99},
        Field{&C::head_bias, "head_bias", "a bias in the output layer"},
        Field{&C::attention, "attention", "attention"},
        Field{&C::feed_forward, "feed_forward", "feed-forward layers"}};
  }
};

// Throws a config error naming the fields that do not fit each other.
void validate(const ModelConfig& config, const Place& place);

// Parameters by the formulas of specs/sparse-ffn 3.3 (without its unused scalar per layer).
struct ParameterCounts {
  std::int64_t total = 0, active = 0, feed_forward = 0, feed_forward_active = 0;
};
ParameterCounts count_parameters(const ModelConfig& config);

}  // namespace mote::model

template <>
struct mote::EnumNames<mote::model::AttentionKind> {
  static constexpr std::array names{"transformer_xl", "absolute"};
};
template <>
struct mote::EnumNames<mote::model::FeedForwardKind> {
  static constexpr std::array names{"dense", "sigma_moe"};
};
