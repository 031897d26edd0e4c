#include "checkpoint/families/experts.h"

#include "checkpoint/families/decoder.h"

namespace mote::checkpoint {
namespace {

constexpr StoredLayout kFirstHalf{0, 0, 2, 1}, kSecondHalf{0, 1, 2, 1};

constexpr NameRule kExperts[] = {
    {"blocks.#.feed_forward.router.weight", "model.layers.#.mlp.gate.weight"},
    {"blocks.#.feed_forward.router.weight", "model.layers.#.block_sparse_moe.gate.weight"},
    {"blocks.#.feed_forward.router.weight", "model.layers.#.mlp.router.weight"},
    {"blocks.#.feed_forward.router.selection_bias",
     "model.layers.#.mlp.gate.e_score_correction_bias"},

    {"blocks.#.feed_forward.experts.gate", "model.layers.#.mlp.experts.*.gate_proj.weight"},
    {"blocks.#.feed_forward.experts.up", "model.layers.#.mlp.experts.*.up_proj.weight"},
    {"blocks.#.feed_forward.experts.down", "model.layers.#.mlp.experts.*.down_proj.weight"},

    {"blocks.#.feed_forward.experts.gate", "model.layers.#.block_sparse_moe.experts.*.w1.weight"},
    {"blocks.#.feed_forward.experts.up", "model.layers.#.block_sparse_moe.experts.*.w3.weight"},
    {"blocks.#.feed_forward.experts.down", "model.layers.#.block_sparse_moe.experts.*.w2.weight"},

    {"blocks.#.feed_forward.experts.gate", "model.layers.#.mlp.experts.*.w1.weight"},
    {"blocks.#.feed_forward.experts.up", "model.layers.#.mlp.experts.*.w3.weight"},
    {"blocks.#.feed_forward.experts.down", "model.layers.#.mlp.experts.*.w2.weight"},

    {"blocks.#.feed_forward.experts.gate", "model.layers.#.mlp.experts.gate_up_proj", kFirstHalf},
    {"blocks.#.feed_forward.experts.up", "model.layers.#.mlp.experts.gate_up_proj", kSecondHalf},
    {"blocks.#.feed_forward.experts.down", "model.layers.#.mlp.experts.down_proj"},

    {"blocks.#.feed_forward.experts.gate", "model.layers.#.mlp.switch_mlp.gate_proj.weight"},
    {"blocks.#.feed_forward.experts.up", "model.layers.#.mlp.switch_mlp.up_proj.weight"},
    {"blocks.#.feed_forward.experts.down", "model.layers.#.mlp.switch_mlp.down_proj.weight"},

    {"blocks.#.feed_forward.shared_gate.weight", "model.layers.#.mlp.shared_expert_gate.weight"},
    {"blocks.#.feed_forward.shared.gate.weight",
     "model.layers.#.mlp.shared_expert.gate_proj.weight"},
    {"blocks.#.feed_forward.shared.up.weight", "model.layers.#.mlp.shared_expert.up_proj.weight"},
    {"blocks.#.feed_forward.shared.down.weight",
     "model.layers.#.mlp.shared_expert.down_proj.weight"},
};

}  // namespace

Mixture read_mixture(const HfConfig& config, const char* width_key, const ModelConfig& model) {
  Mixture mixture;
  mixture.experts = config.integer_of({"num_experts", "num_local_experts", "n_routed_experts"});
  mixture.expert_width = config.integer(width_key);
  mixture.activation = model.feed_forward.get_if<Dense>()->activation;
  mixture.gated = true;
  mixture.router.experts_per_token = config.integer("num_experts_per_tok");
  mixture.router.gate = Gate::softmax_before;
  if (const double weight = config.number("router_aux_loss_coef", 0); weight > 0)
    mixture.router.balance.push_back(SwitchLoss{weight, SwitchScale::paper, true});
  config.ignore({"output_router_logits"});
  return mixture;
}

void set_mixture(const Mixture& mixture, const std::vector<std::int64_t>& dense_layers,
                 const std::string& file, ModelConfig& model) {
  const Json dense = to_json(model.feed_forward);
  model.feed_forward = mixture;
  if (dense_layers.empty()) return;
  model.rules.push_back(rule_from({{"layers", dense_layers}, {"feed_forward", dense}}, file));
}

std::vector<NameRule> mixture_names(std::initializer_list<NameRule> own) {
  std::vector<NameRule> names = own;
  names.insert(names.end(), decoder_names().begin(), decoder_names().end());
  names.insert(names.end(), std::begin(kExperts), std::end(kExperts));
  return names;
}

std::vector<NameRule> mixtral_names() {
  return mixture_names(
      {{"blocks.#.feed_forward.router.weight", "model.layers.#.block_sparse_moe.gate.weight"},
       {"blocks.#.feed_forward.experts.gate",
        "model.layers.#.block_sparse_moe.experts.*.w1.weight"},
       {"blocks.#.feed_forward.experts.up", "model.layers.#.block_sparse_moe.experts.*.w3.weight"},
       {"blocks.#.feed_forward.experts.down",
        "model.layers.#.block_sparse_moe.experts.*.w2.weight"}});
}

}  // namespace mote::checkpoint
