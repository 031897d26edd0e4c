// How a mixture's router sends tokens to experts, as a choice on independent axes: what experts are
// scored by, how scores become a selection, what gates the selected have, and what training adds.
// Each published router is a setting of these (docs/papers.md).
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "base/fields.h"

namespace mote::checkpoint {

// What is counted together: the tokens of a sequence, or all tokens of a call.
enum class Scope { sequence, batch };

// z = W x (+ b) (specs/sparse-ffn 2.4).
struct LinearScore {
  static constexpr const char* kKind = "linear";
  bool bias = false;
  bool equal_rows = true;

  static auto fields() {
    using C = LinearScore;
    return std::tuple{
        Field{&C::bias, "bias", "a bias for each expert, 0 at first"},
        Field{&C::equal_rows, "equal_rows", "rows of W start with one norm, the same for all"}};
  }
};

// z = G h, h the state of one GRU cell that all layers share, from layer to layer (RMoE, arXiv
// 2408.06793; specs/related 2).
struct RecurrentScore {
  static constexpr const char* kKind = "recurrent";
  std::int64_t state_dim = 128;

  static auto fields() {
    return std::tuple{Field{&RecurrentScore::state_dim, "state_dim",
                            "width of the state that goes from layer to layer, the same in all "
                            "layers",
                            1.0, 1e5}};
  }
};

// z_e = the mean of the rows of up_e, times x: no parameters of its own (arXiv 2305.13999;
// specs/related 3).
struct AvgKScore {
  static constexpr const char* kKind = "avg_k";
  static auto fields() { return std::tuple<>{}; }
};

// No scores: the token's id says which experts (Hash Layers, arXiv 2106.04426).
struct HashScore {
  static constexpr const char* kKind = "hash";
  std::int64_t seed = 1;
  std::vector<std::int64_t> table = {};

  static auto fields() {
    using C = HashScore;
    return std::tuple{
        Field{&C::seed, "seed", "of the random experts of an id, without a table", 0.0},
        Field{&C::table, "table",
              "experts of id 0, of id 1, ...: K for each token of the vocabulary; "
              "empty: random ones"}};
  }
};

using ScoreConfig = OneOf<LinearScore, RecurrentScore, AvgKScore, HashScore>;

// The K largest scores of each token.
struct TopScores {
  static constexpr const char* kKind = "topk";
  static auto fields() { return std::tuple<>{}; }
};

// In training the K largest of each token after Sinkhorn's balancing, elsewhere of the scores
// (S-BASE, arXiv 2202.01169; specs/sparse-ffn 2.5).
enum class SinkhornForm { correct, published };

struct SinkhornSelect {
  static constexpr const char* kKind = "sinkhorn";
  std::int64_t iterations = 3;
  SinkhornForm form = SinkhornForm::correct;
  Scope over = Scope::sequence;

  static auto fields() {
    using C = SinkhornSelect;
    return std::tuple{
        Field{&C::iterations, "iterations", "of Sinkhorn's balancing", 1.0, 1e4},
        Field{&C::form, "form", "correct, or published: as the program of 2310.10837 has it"},
        Field{&C::over, "over", "tokens that are balanced together"}};
  }
};

// In training the balanced assignment with the largest sum of scores, elsewhere the largest score
// (BASE, arXiv 2103.16716).
struct BaseSelect {
  static constexpr const char* kKind = "base";
  static auto fields() { return std::tuple<>{}; }
};

// Every expert takes the tokens that score it highest (arXiv 2202.09368): a token's experts depend
// on later tokens.
enum class ChoiceElsewhere { same, topk };

struct ExpertChoice {
  static constexpr const char* kKind = "expert_choice";
  Scope over = Scope::batch;
  ChoiceElsewhere elsewhere = ChoiceElsewhere::same;

  static auto fields() {
    using C = ExpertChoice;
    return std::tuple{
        Field{&C::over, "over", "tokens that an expert chooses among"},
        Field{&C::elsewhere, "elsewhere", "outside training: the same, or each token's topk"}};
  }
};

// The K best experts of the best groups; experts of a group are neighbours. A group is as good as its
// best expert (DeepSeek-V2, arXiv 2405.04434), or as its two best together (V3, 2412.19437). Experts
// are compared by gates before they are renormalised, plus selection_bias.
enum class GroupScore { best, best_two };

struct GroupedTop {
  static constexpr const char* kKind = "grouped";
  std::int64_t groups = 8;
  std::int64_t groups_per_token = 4;
  GroupScore score = GroupScore::best_two;

  static auto fields() {
    using C = GroupedTop;
    return std::tuple{
        Field{&C::groups, "groups", "of equally many experts", 1.0, 1e6},
        Field{&C::groups_per_token, "groups_per_token", "groups that a token keeps", 1.0, 1e6},
        Field{&C::score, "score", "of a group: its best expert, or its two best together"}};
  }
};

// One expert after the other, the largest score z that is left; its gate is softmax over those left
// whose scores e lie near it, (z - e) / max(|e|, z) <= 2 threshold (Phi-MoE's sparse mixer outside
// training, arXiv 2409.12136).
struct SparseMixer {
  static constexpr const char* kKind = "sparse_mixer";
  double threshold = 0.01;

  static auto fields() {
    return std::tuple{Field{&SparseMixer::threshold, "threshold",
                            "half of what scores may lie below the largest, relatively", 0.0, 1e3}};
  }
};

using SelectConfig =
    OneOf<TopScores, SinkhornSelect, BaseSelect, ExpertChoice, GroupedTop, SparseMixer>;

// The weight of a selected expert's output: sigmoid(z_e), its share of softmax or sparsemax over all
// E scores, its share of softmax over the K selected, or 1.
enum class Gate { sigmoid, softmax_before, softmax_after, sparsemax, one };

struct NoNoise {
  static constexpr const char* kKind = "none";
  static auto fields() { return std::tuple<>{}; }
};

// What is scored is x times uniform numbers in 1 +- epsilon (Switch).
struct JitterNoise {
  static constexpr const char* kKind = "jitter";
  double epsilon = 0.01;
  static auto fields() {
    return std::tuple{Field{&JitterNoise::epsilon, "epsilon",
                            "the scored input is multiplied by 1 - epsilon to 1 + epsilon", 0.0,
                            1.0}};
  }
};

// Scores plus softplus(W' x) times standard normal numbers (arXiv 1701.06538).
struct LearnedNoise {
  static constexpr const char* kKind = "learned";
  static auto fields() { return std::tuple<>{}; }
};

struct NormalNoise {
  static constexpr const char* kKind = "normal";
  double std = 1;
  static auto fields() {
    return std::tuple{
        Field{&NormalNoise::std, "std", "standard deviation of what is added to scores", 0.0, 1e6}};
  }
};

using NoiseConfig = OneOf<NoNoise, JitterNoise, LearnedNoise, NormalNoise>;

struct NoCapacity {
  static constexpr const char* kKind = "none";
  static auto fields() { return std::tuple<>{}; }
};

// The most tokens an expert takes, in the order of first choices, then of tokens; the others go
// without.
struct CapacityFactor {
  static constexpr const char* kKind = "factor";
  double factor = 1.25;
  Scope over = Scope::batch;
  bool elsewhere = false;

  static auto fields() {
    using C = CapacityFactor;
    return std::tuple{Field{&C::factor, "factor",
                            "of an even share: factor * tokens * K / E, at least 1", 1e-6, 1e6},
                      Field{&C::over, "over", "tokens that are counted together"},
                      Field{&C::elsewhere, "elsewhere", "outside training too"}};
  }
};

struct CapacityCount {
  static constexpr const char* kKind = "count";
  std::int64_t count = 64;
  Scope over = Scope::sequence;
  bool elsewhere = false;

  static auto fields() {
    using C = CapacityCount;
    return std::tuple{Field{&C::count, "count", "tokens", 1.0, 1e9},
                      Field{&C::over, "over", "tokens that are counted together"},
                      Field{&C::elsewhere, "elsewhere", "outside training too"}};
  }
};

using CapacityConfig = OneOf<NoCapacity, CapacityFactor, CapacityCount>;

// E sum_e f_e p_e: f the share of tokens that selected e, p the mean of softmax(z). The published
// program has f / K and 1 / E for E (specs/sparse-ffn 2.5).
// `over` sequence: the mean of the losses of all sequences, each with f and p of its own.
enum class SwitchScale { paper, published };

struct SwitchLoss {
  static constexpr const char* kKind = "switch";
  double weight = 0.01;
  SwitchScale scale = SwitchScale::paper;
  bool of_all_layers = false;
  Scope over = Scope::batch;
  bool dropped_as_first = false;
  static auto fields() {
    using C = SwitchLoss;
    return std::tuple{Field{&C::weight, "weight", "in the loss", 0.0, 1e6},
                      Field{&C::scale, "scale", "as the paper has it, or the published program"},
                      Field{&C::of_all_layers, "of_all_layers",
                            "one loss, of the means over all layers that have it, as in "
                            "transformers' decoders"},
                      Field{&C::over, "over", "tokens whose shares make one loss"},
                      Field{&C::dropped_as_first, "dropped_as_first",
                            "tokens beyond an expert's capacity count as those of expert 0, as in "
                            "transformers' Switch"}};
  }
};

// The coefficient of variation over experts of the sums of gates (arXiv 1701.06538, which squares
// it).
struct ImportanceLoss {
  static constexpr const char* kKind = "importance";
  double weight = 0.1;
  bool squared = false;
  static auto fields() {
    using C = ImportanceLoss;
    return std::tuple{Field{&C::weight, "weight", "in the loss", 0.0, 1e6},
                      Field{&C::squared, "squared", "the square of the coefficient"}};
  }
};

// The same of the expected numbers of tokens, the noise of scores drawn anew.
struct LoadLoss {
  static constexpr const char* kKind = "load";
  double weight = 0.1;
  bool squared = false;
  static auto fields() {
    using C = LoadLoss;
    return std::tuple{Field{&C::weight, "weight", "in the loss", 0.0, 1e6},
                      Field{&C::squared, "squared", "the square of the coefficient"}};
  }
};

// The mean of (ln sum_e exp z_e)^2 (ST-MoE, arXiv 2202.08906).
struct ZLoss {
  static constexpr const char* kKind = "z";
  double weight = 0.001;
  static auto fields() {
    return std::tuple{Field{&ZLoss::weight, "weight", "in the loss", 0.0, 1e6}};
  }
};

using BalanceConfig = OneOf<SwitchLoss, ImportanceLoss, LoadLoss, ZLoss>;

// sigma-MoE unless told otherwise.
struct RouterConfig {
  std::int64_t experts_per_token = 4;
  double expert_dropout = 0;
  double entropy_weight = 0;
  ScoreConfig score = {};
  SelectConfig select = {};
  Gate gate = Gate::sigmoid;
  bool renormalise = false;
  NoiseConfig noise = {};
  CapacityConfig capacity = {};
  std::vector<BalanceConfig> balance = {};
  bool selection_bias = false;
  double gate_scale = 1;

  static auto fields() {
    using C = RouterConfig;
    return std::tuple{
        Field{&C::experts_per_token, "experts_per_token",
              "experts a token uses (K); with expert_choice on the average", 1.0, 1e8},
        Field{&C::expert_dropout, "expert_dropout",
              "share of experts hidden from a token in training (delta)", 0.0, 1.0},
        Field{&C::entropy_weight, "entropy_weight", "weight of the entropy regulariser (gamma)",
              0.0},
        Field{&C::score, "score", "what experts are scored by"},
        Field{&C::select, "select", "which experts a token gets"},
        Field{&C::gate, "gate", "weight of a selected expert"},
        Field{&C::renormalise, "renormalise", "gates of a token are divided by their sum"},
        Field{&C::noise, "noise", "what training adds to what is scored"},
        Field{&C::capacity, "capacity", "most tokens of an expert in training"},
        Field{&C::balance, "balance", "losses that spread tokens over experts"},
        Field{&C::selection_bias, "selection_bias",
              "a number for each expert, not trained, added to the gates that experts are "
              "selected by, but not to gates in use (arXiv 2412.19437)"},
        Field{&C::gate_scale, "gate_scale", "gates are multiplied by it in the end", 1e-6, 1e6}};
  }
};

// Throws a config error for fields that do not fit each other; `experts`: E.
void check(const RouterConfig& router, std::int64_t experts, const Place& place);
// Throws where a given hash table is not one for a vocabulary of that size.
void check_vocabulary(const RouterConfig& router, std::int64_t vocab_size, const Place& place);

// Why training cannot move such a router, by its fields' names; empty: it can.
std::string why_it_cannot_learn(const RouterConfig& router, std::int64_t experts);
// Why a token's experts outside training depend on other tokens: on later ones, or on how many come
// at a time; empty: they do not.
std::string why_not_causal(const RouterConfig& router);
std::string why_step_matters(const RouterConfig& router);

}  // namespace mote::checkpoint

template <>
struct mote::EnumNames<mote::checkpoint::Scope> {
  static constexpr std::array names{"sequence", "batch"};
};
template <>
struct mote::EnumNames<mote::checkpoint::SinkhornForm> {
  static constexpr std::array names{"correct", "published"};
};
template <>
struct mote::EnumNames<mote::checkpoint::ChoiceElsewhere> {
  static constexpr std::array names{"same", "topk"};
};
template <>
struct mote::EnumNames<mote::checkpoint::Gate> {
  static constexpr std::array names{"sigmoid", "softmax_before", "softmax_after", "sparsemax",
                                    "one"};
};
template <>
struct mote::EnumNames<mote::checkpoint::GroupScore> {
  static constexpr std::array names{"best", "best_two"};
};
template <>
struct mote::EnumNames<mote::checkpoint::SwitchScale> {
  static constexpr std::array names{"paper", "published"};
};
