#include "checkpoint/router_config.h"

namespace mote::checkpoint {
namespace {

constexpr const char* kLosses = "entropy_weight and balance";

bool learned(const ScoreConfig& score) {
  return score.get_if<LinearScore>() || score.get_if<RecurrentScore>();
}

[[noreturn]] void refuse(const Place& place, const std::string& field, const std::string& is,
                         const std::string& why) {
  throw_config_error(place.inside(field), concat("is ", is, "; ", why));
}

// Scores that have no gradient, or none at all, leave nothing for the other axes to do.
void check_unlearned(const RouterConfig& r, const Place& place) {
  const std::string score = concat("router.score ", r.score.kind(), " ");
  if (r.gate != Gate::one)
    refuse(place, "router.gate", enum_name(r.gate), score + "has no gates to learn; take one");
  if (!r.select.get_if<TopScores>())
    refuse(place, "router.select.kind", r.select.kind(), score + "goes with topk");
  if (!r.noise.get_if<NoNoise>())
    refuse(place, "router.noise.kind", r.noise.kind(), score + "goes with none");
  if (r.selection_bias) refuse(place, "router.selection_bias", "true", score + "goes with false");
  if (r.entropy_weight != 0 || !r.balance.empty())
    throw_config_error(
        place.inside(r.entropy_weight != 0 ? "router.entropy_weight" : "router.balance"),
        concat("is set; ", kLosses, " move learned scores, and ", score, "has none"));
}

void check_groups(const GroupedTop& g, const RouterConfig& r, std::int64_t experts,
                  const Place& place) {
  if (experts % g.groups != 0)
    refuse(place, "router.select.groups", std::to_string(g.groups),
           concat("it has to divide feed_forward.experts = ", experts));
  if (g.groups_per_token > g.groups)
    refuse(place, "router.select.groups_per_token", std::to_string(g.groups_per_token),
           concat("more than router.select.groups = ", g.groups));
  const std::int64_t size = experts / g.groups;
  if (r.experts_per_token > g.groups_per_token * size)
    refuse(place, "router.experts_per_token", std::to_string(r.experts_per_token),
           concat(g.groups_per_token, " groups have ", g.groups_per_token * size, " experts"));
  if (g.score == GroupScore::best_two && size < 2)
    refuse(place, "router.select.score", "best_two", "groups have one expert; take best");
  if (r.gate == Gate::softmax_after || r.gate == Gate::one)
    refuse(place, "router.gate", enum_name(r.gate),
           "router.select grouped compares experts by gates of all of them; take softmax_before or "
           "sigmoid");
}

void check_select(const RouterConfig& r, std::int64_t experts, const Place& place) {
  if (r.select.get_if<BaseSelect>() && r.experts_per_token != 1)
    refuse(place, "router.experts_per_token", std::to_string(r.experts_per_token),
           "router.select base sends every token to one expert; take 1");
  if (r.select.get_if<SparseMixer>()) {
    if (r.gate != Gate::softmax_before)
      refuse(place, "router.gate", enum_name(r.gate),
             "router.select sparse_mixer makes gates of softmax_before");
    if (r.renormalise)
      refuse(place, "router.renormalise", "true", "router.select sparse_mixer wants false");
  }
  if (const auto* grouped = r.select.get_if<GroupedTop>())
    check_groups(*grouped, r, experts, place);
  if (r.selection_bias) {
    if (!r.select.get_if<TopScores>() && !r.select.get_if<GroupedTop>())
      refuse(place, "router.select.kind", r.select.kind(),
             "router.selection_bias goes with topk and grouped");
    if (r.gate == Gate::softmax_after || r.gate == Gate::one)
      refuse(place, "router.gate", enum_name(r.gate),
             "router.selection_bias is added to gates of all experts");
  }
  if (!r.select.get_if<ExpertChoice>()) return;
  if (r.gate == Gate::softmax_after)
    refuse(place, "router.gate", "softmax_after",
           "with router.select expert_choice a token has no K selected; take softmax_before");
  if (r.renormalise)
    refuse(place, "router.renormalise", "true",
           "with router.select expert_choice a token has no K selected; take false");
  if (!r.capacity.get_if<NoCapacity>())
    refuse(place, "router.capacity.kind", r.capacity.kind(),
           "with router.select expert_choice all experts take as many tokens; take none");
}

void check_balance(const RouterConfig& r, std::int64_t experts, const Place& place) {
  const SwitchLoss* first = nullptr;
  for (const BalanceConfig& loss : r.balance) {
    if (const auto* balance = loss.get_if<SwitchLoss>()) {
      if (first &&
          (first->over != balance->over || first->dropped_as_first != balance->dropped_as_first))
        throw_config_error(
            place.inside("router.balance"),
            "has two losses switch whose over or dropped_as_first differ; shares are "
            "counted in one way");
      first = balance;
    }
    if (!loss.get_if<LoadLoss>()) continue;
    const auto* normal = r.noise.get_if<NormalNoise>();
    if (!r.noise.get_if<LearnedNoise>() && !(normal && normal->std > 0))
      refuse(place, "router.noise.kind", r.noise.kind(),
             "router.balance load is of noisy scores; take learned or normal");
    if (!r.select.get_if<TopScores>())
      refuse(place, "router.select.kind", r.select.kind(), "router.balance load goes with topk");
    if (r.experts_per_token >= experts)
      refuse(place, "router.experts_per_token", std::to_string(r.experts_per_token),
             concat("router.balance load needs fewer than feed_forward.experts = ", experts));
  }
}

}  // namespace

void check(const RouterConfig& r, std::int64_t experts, const Place& place) {
  if (r.experts_per_token > experts)
    throw_config_error(
        place.inside("router.experts_per_token"),
        concat("is ", r.experts_per_token, ", more than feed_forward.experts = ", experts));
  if (!learned(r.score)) check_unlearned(r, place);
  if (const auto* hash = r.score.get_if<HashScore>()) {
    if (r.expert_dropout > 0)
      refuse(place, "router.expert_dropout", concat(r.expert_dropout),
             "router.score hash has no scores to hide; take 0");
    for (std::size_t i = 0; i < hash->table.size(); ++i)
      if (hash->table[i] < 0 || hash->table[i] >= experts)
        refuse(place, concat("router.score.table.", i), std::to_string(hash->table[i]),
               concat("experts are 0 to feed_forward.experts - 1 = ", experts - 1));
  }
  check_select(r, experts, place);
  check_balance(r, experts, place);
}

void check_vocabulary(const RouterConfig& r, std::int64_t vocab_size, const Place& place) {
  const auto* hash = r.score.get_if<HashScore>();
  if (!hash || hash->table.empty()) return;
  const auto found = static_cast<std::int64_t>(hash->table.size());
  if (found != vocab_size * r.experts_per_token)
    throw_config_error(place.inside("router.score.table"),
                       concat("has ", found, " numbers; ", vocab_size, " tokens times ",
                              "experts_per_token = ", r.experts_per_token, " are ",
                              vocab_size * r.experts_per_token));
}

std::string why_it_cannot_learn(const RouterConfig& r, std::int64_t experts) {
  const std::string only = r.entropy_weight > 0 || !r.balance.empty()
                               ? "; only the balancing losses move the router"
                               : "; the router stays as it starts";
  if (r.expert_dropout == 1) return "expert_dropout = 1 hides every expert, all gates are 0";
  if (!learned(r.score)) return "";
  if (r.gate == Gate::one) return "gate one gives its scores no gradient" + only;
  if (r.experts_per_token == 1 && r.gate == Gate::softmax_after)
    return "gate softmax_after of experts_per_token = 1 is always 1" + only;
  if (r.experts_per_token == 1 && r.renormalise)
    return "renormalise with experts_per_token = 1 makes every gate 1" + only;
  if (experts == 1 && r.gate != Gate::sigmoid)
    return concat("gate ", enum_name(r.gate), " of experts = 1 is always 1", only);
  return "";
}

std::string why_not_causal(const RouterConfig& r) {
  const auto* choice = r.select.get_if<ExpertChoice>();
  if (!choice || choice->elsewhere == ChoiceElsewhere::topk) return "";
  return "select expert_choice is not causal: which experts a token gets depends on later tokens, "
         "so "
         "losses are too low, and text that comes token by token is computed otherwise";
}

std::string why_step_matters(const RouterConfig& r) {
  const auto* factor = r.capacity.get_if<CapacityFactor>();
  const auto* count = r.capacity.get_if<CapacityCount>();
  if (!(factor && factor->elsewhere) && !(count && count->elsewhere)) return "";
  return "capacity.elsewhere drops tokens by how many come at a time: text that comes token by "
         "token "
         "is computed otherwise";
}

}  // namespace mote::checkpoint
