// Every size and choice of a model, per layer; torch-free, so that checkpoint families can fill it.
// Written as config.json beside the weights, and [model] of a recipe.
//
// A kind has the fields it reads and no others: a key of another kind is unknown to it.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "base/fields.h"
#include "checkpoint/layer_rule.h"
#include "checkpoint/rotary_config.h"
#include "checkpoint/router_config.h"

namespace mote::checkpoint {

// The upper limits of sizes are far above any model; they and validate() keep a hostile config.json
// from numbers that overflow or objects that fill the memory.

// Relative positions and memory (Dai et al. 2019; specs/sparse-ffn 3.1).
struct TransformerXl {
  static constexpr const char* kKind = "transformer_xl";
  std::int64_t heads = 8;
  std::int64_t head_dim = 32;
  std::int64_t memory_blocks = 1;
  std::int64_t eval_memory_blocks = 4;

  static auto fields() {
    using C = TransformerXl;
    return std::tuple{
        Field{&C::heads, "heads", "attention heads", 1.0, 1e5},
        Field{&C::head_dim, "head_dim", "width of a head", 1.0, 1e5},
        Field{&C::memory_blocks, "memory_blocks", "blocks remembered in training", 0.0, 1e6},
        Field{&C::eval_memory_blocks, "eval_memory_blocks", "blocks remembered elsewhere", 0.0,
              1e6}};
  }
};

// Every position sees those before it; it knows them apart by what the embedding adds.
struct Causal {
  static constexpr const char* kKind = "causal";
  std::int64_t heads = 8;
  std::int64_t head_dim = 32;
  bool bias = false;

  static auto fields() {
    using C = Causal;
    return std::tuple{Field{&C::heads, "heads", "attention heads", 1.0, 1e5},
                      Field{&C::head_dim, "head_dim", "width of a head", 1.0, 1e5},
                      Field{&C::bias, "bias", "biases in the projections"}};
  }
};

// RMS norms of queries and keys before they are turned: of each head (one weight for all of them),
// or of all heads together.
enum class HeadNorm { none, head, all };

// Causal attention with rotary positions, as Llama and its kin have it. Query heads share key heads.
//   score = scale q . k over the last `window` positions; sink: exp(sink) joins a softmax's sum
struct Rotary {
  static constexpr const char* kKind = "rotary";
  std::int64_t heads = 8;
  std::int64_t key_heads = 8;
  std::int64_t head_dim = 32;
  bool bias = false;
  bool output_bias = false;
  HeadNorm head_norm = HeadNorm::none;
  RotaryConfig rotary;
  double scale = 0;
  std::int64_t window = 0;
  bool sinks = false;
  double clip = 0;

  static auto fields() {
    using C = Rotary;
    return std::tuple{
        Field{&C::heads, "heads", "heads of queries", 1.0, 1e5},
        Field{&C::key_heads, "key_heads", "heads of keys and values, a divisor of heads", 1.0, 1e5},
        Field{&C::head_dim, "head_dim", "width of a head", 1.0, 1e5},
        Field{&C::bias, "bias", "biases of queries, keys and values"},
        Field{&C::output_bias, "output_bias", "a bias of the output"},
        Field{&C::head_norm, "head_norm", "RMS norm of queries and keys"},
        Field{&C::rotary, "rotary", "positions"},
        Field{&C::scale, "scale", "of scores; 0: 1 / sqrt(head_dim)", 0.0, 1e6},
        Field{&C::window, "window", "positions seen, its own included; 0: all before", 0.0, 1e8},
        Field{&C::sinks, "sinks", "a learned logit a head that takes weight from the keys"},
        Field{&C::clip, "clip", "queries, keys and values are clamped to +-clip; 0: not", 0.0,
              1e6}};
  }
};

// Latent attention (MLA, arXiv 2405.04434): keys and values are made from kv_rank numbers a position.
//   q = Wq x, or Wq_up rms(Wq_down x);  [c; r] = Wkv_down x;  [k_h; v_h] = Wkv_up rms(c)
//   score = scale (q_h . [k_h; turned r]), the last rope_dim columns of q turned too; r has no heads
struct Latent {
  static constexpr const char* kKind = "latent";
  std::int64_t heads = 8;
  std::int64_t q_rank = 0;
  std::int64_t kv_rank = 64;
  std::int64_t head_dim = 32;
  std::int64_t rope_dim = 16;
  std::int64_t value_dim = 32;
  bool bias = false;
  RotaryConfig rotary;
  double scale = 0;
  double epsilon = 1e-6;

  static auto fields() {
    using C = Latent;
    return std::tuple{
        Field{&C::heads, "heads", "attention heads", 1.0, 1e5},
        Field{&C::q_rank, "q_rank", "numbers that queries are made from; 0: the input", 0.0, 1e6},
        Field{&C::kv_rank, "kv_rank", "numbers that keys and values are made from", 1.0, 1e6},
        Field{&C::head_dim, "head_dim", "width of a query, what is turned included", 1.0, 1e5},
        Field{&C::rope_dim, "rope_dim", "columns of it that are turned, fewer than head_dim", 1.0,
              1e5},
        Field{&C::value_dim, "value_dim", "width of a value", 1.0, 1e5},
        Field{&C::bias, "bias", "biases of q_down, kv_down and the output"},
        Field{&C::rotary, "rotary", "positions"},
        Field{&C::scale, "scale", "of scores; 0: 1 / sqrt(head_dim)", 0.0, 1e6},
        Field{&C::epsilon, "epsilon", "of the two RMS norms", 0.0, 1.0}};
  }
};

// By content and by how far apart two positions are, in buckets (T5, arXiv 1910.10683, section 2.1;
// specs/checkpoints 2.3). In a decoder causal, in an encoder every position sees all others.
//   score = q . k + b_h[bucket(j - i)], no scale; b is shared by all blocks of a stack
// Half of the buckets are for one distance each, the others for ever longer ranges up to max_distance,
// beyond which all is the last one's; an encoder has half of them for each direction.
struct Bucketed {
  static constexpr const char* kKind = "bucketed";
  std::int64_t heads = 8;
  std::int64_t head_dim = 32;
  std::int64_t buckets = 32;
  std::int64_t max_distance = 128;

  static auto fields() {
    using C = Bucketed;
    return std::tuple{
        Field{&C::heads, "heads", "attention heads", 1.0, 1e5},
        Field{&C::head_dim, "head_dim", "width of a head", 1.0, 1e5},
        Field{&C::buckets, "buckets", "of distances, a multiple of 4", 4.0, 1e5},
        Field{&C::max_distance, "max_distance",
              "from which on all distances are alike, more than buckets / 2", 2.0, 1e6}};
  }
};

using AttentionConfig = OneOf<TransformerXl, Causal, Rotary, Latent, Bucketed>;

enum class NormKind { layer, rms };

// Before attention and feed-forward layer, and after the last block (kernels/sequence/norm).
struct NormsConfig {
  NormKind kind = NormKind::layer;
  double epsilon = 1e-5;
  double weight_offset = 0;
  bool after = false;

  static auto fields() {
    using C = NormsConfig;
    return std::tuple{
        Field{&C::kind, "kind", "layer (mean and variance, with a bias), or rms"},
        Field{&C::epsilon, "epsilon", "added to the variance", 0.0, 1.0},
        Field{&C::weight_offset, "weight_offset", "added to the weight: 1 in Gemma", -10.0, 10.0},
        Field{&C::after, "after", "also of what attention and feed-forward layer give"}};
  }
};

// Of hidden units: gelu(x) = x Phi(x), gelu_tanh its approximation, silu(x) = x sigmoid(x).
enum class NeuronActivation { gelu, gelu_tanh, relu, silu, identity };

// What the second matrices' initial variance is divided by: the hidden units of all experts
// together, of one expert, or of the K that a token uses (specs/sparse-ffn 4; specs/related 3).
enum class FanIn { all, expert, active };

struct MixtureInit {
  double scale = 1;
  FanIn down_fan_in = FanIn::all;

  static auto fields() {
    using C = MixtureInit;
    return std::tuple{Field{&C::scale, "scale", "factor of all initial variances", 1e-6, 1e6},
                      Field{&C::down_fan_in, "down_fan_in",
                            "hidden units that count: of all experts, of one, of a token's"}};
  }
};

// Of gated experts: act(min(g, limit)) (clamp(u, +-limit) + up_offset), silu(g) = g sigmoid(alpha g).
struct UnitConfig {
  double alpha = 1;
  double limit = 0;
  double up_offset = 0;

  static auto fields() {
    using C = UnitConfig;
    return std::tuple{
        Field{&C::alpha, "alpha", "of silu", 1e-3, 1e3},
        Field{&C::limit, "limit", "both inputs are cut at it; 0: not", 0.0, 1e6},
        Field{&C::up_offset, "up_offset", "added to what the gate multiplies", -1e3, 1e3}};
  }
};

// An expert that every token uses beside those it is routed to.
struct SharedExpert {
  std::int64_t width = 0;
  bool gated_output = false;

  static auto fields() {
    using C = SharedExpert;
    return std::tuple{
        Field{&C::width, "width", "hidden width; 0: there is none", 0.0, 1e8},
        Field{&C::gated_output, "gated_output", "its output is multiplied by sigmoid(w . x)"}};
  }
};

struct Mixture {
  static constexpr const char* kKind = "mixture";
  std::int64_t experts = 16;
  std::int64_t expert_width = 128;
  RouterConfig router;
  std::int64_t key_rank = 0;
  double hidden_dropout = 0;
  MixtureInit init = {};
  NeuronActivation activation = NeuronActivation::relu;
  bool gated = false;
  bool bias = false;
  UnitConfig unit = {};
  SharedExpert shared = {};

  static auto fields() {
    using C = Mixture;
    return std::tuple{
        Field{&C::experts, "experts", "experts per layer (E)", 1.0, 1e8},
        Field{&C::expert_width, "expert_width", "hidden width of an expert (G)", 1.0, 1e6},
        Field{&C::router, "router", "which experts a token uses"},
        Field{&C::key_rank, "key_rank",
              "up matrices are up_e D, D of so many rows and shared; 0: whole ones", 0.0, 1e6},
        Field{&C::hidden_dropout, "hidden_dropout", "dropout rate of experts' hidden units", 0.0,
              0.99},
        Field{&C::init, "init", "initial values"},
        Field{&C::activation, "activation", "of hidden units"},
        Field{&C::gated, "gated", "a third matrix: act(gate_e x) * (up_e x)"},
        Field{&C::bias, "bias", "biases of all matrices of experts"},
        Field{&C::unit, "unit", "how gated hidden units are made"},
        Field{&C::shared, "shared", "an expert that all tokens use"}};
  }
};

struct Dense {
  static constexpr const char* kKind = "dense";
  std::int64_t width = 1024;
  NeuronActivation activation = NeuronActivation::relu;
  bool gated = false;
  bool bias = true;

  static auto fields() {
    using C = Dense;
    return std::tuple{Field{&C::width, "width", "hidden width", 1.0, 1e8},
                      Field{&C::activation, "activation", "of hidden units"},
                      Field{&C::gated, "gated", "a third matrix: act(Wg x) * (W1 x)"},
                      Field{&C::bias, "bias", "biases of all matrices"}};
  }
};

// A dense layer of whose hidden units a token keeps the K largest, the others being 0 (top-K
// activation, specs/sparse-ffn 2.2).
struct TopK {
  static constexpr const char* kKind = "topk";
  std::int64_t width = 1024;
  std::int64_t units_per_token = 128;

  static auto fields() {
    using C = TopK;
    return std::tuple{Field{&C::width, "width", "hidden width", 1.0, 1e8},
                      Field{&C::units_per_token, "units_per_token",
                            "hidden units that a token keeps (K)", 1.0, 1e8}};
  }
};

// What product keys are compared with: a linear map of the input, of every head its own
// (arXiv 1907.05242, 2407.04153), or the input itself, the same for all heads (2310.10837).
enum class QueryNorm { none, batch, layer, l2 };

struct LinearQuery {
  static constexpr const char* kKind = "linear";
  std::int64_t key_dim = 128;
  bool bias = false;
  QueryNorm norm = QueryNorm::batch;

  static auto fields() {
    using C = LinearQuery;
    return std::tuple{
        Field{&C::key_dim, "key_dim", "width of a key, both halves together", 2.0, 1e6},
        Field{&C::bias, "bias", "a bias in the query's linear map"},
        Field{&C::norm, "norm",
              "of queries: none, batch (over tokens), layer (over a half), l2 (length 1)"}};
  }
};

struct InputQuery {
  static constexpr const char* kKind = "input";
  static auto fields() { return std::tuple<>{}; }
};

using QueryConfig = OneOf<LinearQuery, InputQuery>;

// Gates from the scores of what a token found: of each head's, of all heads' together, or of each
// score alone.
enum class LookupGate { softmax, softmax_joint, sigmoid, relu };

// Heads that each take the k best of n * n experts (specs/peer.md 1).
struct ProductKeyRouter {
  std::int64_t heads = 8;
  std::int64_t experts_per_head = 16;
  bool share_keys = true;
  LookupGate gate = LookupGate::softmax;
  QueryConfig query;
  double temperature = 1;

  static auto fields() {
    using C = ProductKeyRouter;
    return std::tuple{
        Field{&C::heads, "heads", "heads (h), summed", 1.0, 1e4},
        Field{&C::experts_per_head, "experts_per_head", "experts or values a head takes (k)", 1.0,
              1e6},
        Field{&C::share_keys, "share_keys", "one set of keys for all heads"},
        Field{&C::gate, "gate", "softmax (of a head), softmax_joint (of all heads), sigmoid, relu"},
        Field{&C::query, "query", "what keys are compared with"},
        Field{&C::temperature, "temperature", "gates are of scores divided by it", 1e-6, 1e6}};
  }
};

// A memory of N values found by product keys (PKM; specs/sparse-ffn 2.3). The published runs of
// 2310.10837 selected nothing: all N values by the sum over heads of their scores (dense_head_sum).
// What the values' deviation at the start is divided by: sqrt(d), sqrt(N) or sqrt(h k).
enum class MemoryMode { sparse, dense_head_sum };
enum class ValueInit { dim, values, picks };

struct ProductKey {
  static constexpr const char* kKind = "product_key";
  std::int64_t values = 4096;
  ProductKeyRouter router{4, 32, false, LookupGate::relu, InputQuery{}};
  MemoryMode mode = MemoryMode::sparse;
  ValueInit value_init = ValueInit::dim;
  double value_dropout = 0;
  bool gated_output = false;

  static auto fields() {
    using C = ProductKey;
    return std::tuple{
        Field{&C::values, "values", "values (N), a square number", 1.0, 2e9},
        Field{&C::router, "router", "which values a token uses"},
        Field{&C::mode, "mode",
              "sparse, or dense_head_sum: all values by scores summed over heads, as "
              "2310.10837's program ran"},
        Field{&C::value_init, "value_init",
              "values start with sqrt(2 / (L n)): n = dim, values (N) or picks (h k)"},
        Field{&C::value_dropout, "value_dropout", "dropout of what the values sum to", 0.0, 0.99},
        Field{&C::gated_output, "gated_output", "(y * silu(W1 x)) W2, as in Memory+ (2412.09764)"}};
  }
};

// N experts of one hidden unit found by product keys (PEER; specs/peer.md 1.1).
struct Peer {
  static constexpr const char* kKind = "peer";
  std::int64_t experts = 16384;
  NeuronActivation activation = NeuronActivation::gelu;
  bool gated = false;
  bool separate_tables = false;
  double dropout = 0;
  ProductKeyRouter router;

  static auto fields() {
    using C = Peer;
    return std::tuple{Field{&C::experts, "experts", "experts (N), a square number", 1.0, 2e9},
                      Field{&C::activation, "activation", "of an expert's hidden unit"},
                      Field{&C::gated, "gated", "a third table w: experts act(<u, x>) <w, x> v"},
                      Field{&C::dropout, "dropout", "dropout of hidden units", 0.0, 0.99},
                      Field{&C::separate_tables, "separate_tables",
                            "N experts for each head, which no other head uses"},
                      Field{&C::router, "router", "which experts a token uses"}};
  }
};

using FeedForwardConfig = OneOf<Mixture, Dense, TopK, ProductKey, Peer>;

// What one block is made from.
struct LayerConfig {
  double dropout = 0;
  double residual_scale = 1;
  NormsConfig norms;
  AttentionConfig attention;
  FeedForwardConfig feed_forward;

  static auto fields() {
    using C = LayerConfig;
    return std::tuple{
        Field{&C::dropout, "dropout", "dropout rate in training", 0.0, 0.99},
        Field{&C::residual_scale, "residual_scale",
              "what attention and feed-forward layer give is multiplied by it", 1e-6, 1e6},
        Field{&C::norms, "norms", "normalisation"}, Field{&C::attention, "attention", "attention"},
        Field{&C::feed_forward, "feed_forward", "feed-forward layer"}};
  }
};

enum class Positions { none, learned };

struct HeadConfig {
  bool bias = true;
  double scale = 1;
  static auto fields() {
    using C = HeadConfig;
    return std::tuple{
        Field{&C::bias, "bias", "a bias in the output layer"},
        Field{&C::scale, "scale", "logits are multiplied by it; without a bias", 1e-6, 1e6}};
  }
};

// Blocks that read a source, every position of it at once, which every block of the decoder then attends
// to (T5). They have the model's settings but for the rules.
struct EncoderConfig {
  std::int64_t layers = 0;
  std::int64_t context = 512;
  std::vector<LayerRule> rules;

  static auto fields() {
    using C = EncoderConfig;
    return std::tuple{
        Field{&C::layers, "layers", "blocks; 0: there is no encoder", 0.0, 1e4},
        Field{&C::context, "context", "tokens of a source in training", 1.0, 1e8},
        Field{&C::rules, "rules", "settings of some of its layers, as model.rules has them"}};
  }
};

struct ModelConfig {
  std::int64_t vocab_size = 0;
  std::int64_t layers = 4;
  std::int64_t dim = 256;
  std::int64_t context = 256;
  double dropout = 0;
  Positions positions = Positions::none;
  bool tied = false;
  double embedding_scale = 1;
  double residual_scale = 1;
  HeadConfig head;
  // Of every layer that no rule changes; the norm after the last block is of this kind too.
  NormsConfig norms;
  AttentionConfig attention;
  FeedForwardConfig feed_forward;
  std::vector<LayerRule> rules;
  EncoderConfig encoder;

  static auto fields() {
    using C = ModelConfig;
    return std::tuple{
        Field{&C::vocab_size, "vocab_size", "tokens (set from the tokenizer)", 0.0, 1e8},
        Field{&C::layers, "layers", "blocks (L)", 1.0, 1e4},
        Field{&C::dim, "dim", "width of the residual stream (d)", 1.0, 1e6},
        Field{&C::context, "context", "tokens of a block (T)", 1.0, 1e8},
        Field{&C::dropout, "dropout", "dropout rate in training, of embedding, layers and head",
              0.0, 0.99},
        Field{&C::positions, "positions", "what is added to the embedding of each position"},
        Field{&C::tied, "tied", "the output layer's matrix is the embedding"},
        Field{&C::embedding_scale, "embedding_scale", "embedded tokens are multiplied by it", 1e-6,
              1e6},
        Field{&C::residual_scale, "residual_scale",
              "what attention and feed-forward layers give is multiplied by it", 1e-6, 1e6},
        Field{&C::head, "head", "output layer"},
        Field{&C::norms, "norms", "normalisation"},
        Field{&C::attention, "attention", "attention"},
        Field{&C::feed_forward, "feed_forward", "feed-forward layers"},
        Field{&C::rules, "rules", "settings of some layers (\"layers\" and what changes)"},
        Field{&C::encoder, "encoder", "blocks that read a source first"}};
  }
};

// The settings of layer i: the model's own, then what each rule for it changes, later rules last.
// The only place that resolves them.
LayerConfig layer_config(const ModelConfig& config, std::int64_t i);

bool reads_source(const ModelConfig& config);
// An encoder-decoder's encoder as a model of its own: its number of layers, its rules, its context.
ModelConfig encoder_of(const ModelConfig& config);

// Throws a config error naming the fields that do not fit each other.
void validate(const ModelConfig& config, const Place& place);

// The same without what depends on the vocabulary, which may not be known yet.
void validate_layers(const ModelConfig& config, const Place& place);

// What to tell before training such a model: layers whose router training cannot move.
std::vector<std::string> training_warnings(const ModelConfig& config);
// What to tell before scoring a text with it, since its tokens do not follow from those before.
std::vector<std::string> causality_warnings(const ModelConfig& config);
// Why text cannot be made token by token with it; empty: it can.
std::string why_no_generation(const ModelConfig& config);
// Width of the state that recurrent routers hand from layer to layer; 0: no layer has one.
std::int64_t router_state_dim(const ModelConfig& config);

// Positions of a sequence that the model can tell apart; the largest number if there is no limit.
std::int64_t most_positions(const ModelConfig& config);

// Whether a token sees all before it, and no position of its own ends that: with causal, rotary,
// latent and bucketed attention.
bool sees_everything(const ModelConfig& config);

std::int64_t heads_of(const AttentionConfig& attention);
std::int64_t head_dim_of(const AttentionConfig& attention);
// Width of a head's values: that of its keys, unless they have one of their own.
std::int64_t value_dim_of(const AttentionConfig& attention);
// Heads of keys and values: those of queries, unless these share them.
std::int64_t key_heads_of(const AttentionConfig& attention);

}  // namespace mote::checkpoint

template <>
struct mote::EnumNames<mote::checkpoint::HeadNorm> {
  static constexpr std::array names{"none", "head", "all"};
};
template <>
struct mote::EnumNames<mote::checkpoint::NormKind> {
  static constexpr std::array names{"layer", "rms"};
};
template <>
struct mote::EnumNames<mote::checkpoint::FanIn> {
  static constexpr std::array names{"all", "expert", "active"};
};
template <>
struct mote::EnumNames<mote::checkpoint::QueryNorm> {
  static constexpr std::array names{"none", "batch", "layer", "l2"};
};
template <>
struct mote::EnumNames<mote::checkpoint::LookupGate> {
  static constexpr std::array names{"softmax", "softmax_joint", "sigmoid", "relu"};
};
template <>
struct mote::EnumNames<mote::checkpoint::MemoryMode> {
  static constexpr std::array names{"sparse", "dense_head_sum"};
};
template <>
struct mote::EnumNames<mote::checkpoint::ValueInit> {
  static constexpr std::array names{"dim", "values", "picks"};
};
template <>
struct mote::EnumNames<mote::checkpoint::NeuronActivation> {
  static constexpr std::array names{"gelu", "gelu_tanh", "relu", "silu", "identity"};
};
template <>
struct mote::EnumNames<mote::checkpoint::Positions> {
  static constexpr std::array names{"none", "learned"};
};
