#include "checkpoint/families/decoder.h"
#include "checkpoint/families/encoder_decoders.h"
#include "checkpoint/families/t5.h"

namespace mote::checkpoint {
namespace {

constexpr NameRule kLayers[] = {
    {"encoder.blocks.#.feed_forward.up.weight", "encoder.block.#.layer.1.mlp.wi.weight"},
    {"encoder.blocks.#.feed_forward.down.weight", "encoder.block.#.layer.1.mlp.wo.weight"},
    {"encoder.blocks.#.feed_forward.router.weight",
     "encoder.block.#.layer.1.mlp.router.classifier.weight"},
    {"encoder.blocks.#.feed_forward.router.bias",
     "encoder.block.#.layer.1.mlp.router.classifier.bias"},
    {"encoder.blocks.#.feed_forward.experts.up",
     "encoder.block.#.layer.1.mlp.experts.expert_*.wi.weight"},
    {"encoder.blocks.#.feed_forward.experts.down",
     "encoder.block.#.layer.1.mlp.experts.expert_*.wo.weight"},
    {"blocks.#.feed_forward.up.weight", "decoder.block.#.layer.2.mlp.wi.weight"},
    {"blocks.#.feed_forward.down.weight", "decoder.block.#.layer.2.mlp.wo.weight"},
    {"blocks.#.feed_forward.router.weight", "decoder.block.#.layer.2.mlp.router.classifier.weight"},
    {"blocks.#.feed_forward.router.bias", "decoder.block.#.layer.2.mlp.router.classifier.bias"},
    {"blocks.#.feed_forward.experts.up", "decoder.block.#.layer.2.mlp.experts.expert_*.wi.weight"},
    {"blocks.#.feed_forward.experts.down",
     "decoder.block.#.layer.2.mlp.experts.expert_*.wo.weight"},
};

// One expert a token, gates of the softmax over all; capacity is counted in every sequence, whether it
// trains or not.
Mixture read_experts(const HfConfig& config, const ModelConfig& model) {
  Mixture mixture;
  mixture.experts = config.integer("num_experts", 8);
  mixture.expert_width = model.feed_forward.get_if<Dense>()->width;
  mixture.activation = model.feed_forward.get_if<Dense>()->activation;
  mixture.hidden_dropout = model.dropout;
  RouterConfig& router = mixture.router;
  router.experts_per_token = 1;
  router.gate = Gate::softmax_before;
  router.score = LinearScore{config.flag("router_bias", false), false};
  router.capacity = CapacityCount{config.integer("expert_capacity", 64), Scope::sequence, true};
  if (const double jitter = config.number("router_jitter_noise", 0.01); jitter > 0)
    router.noise = JitterNoise{jitter};
  return mixture;
}

// Every how many blocks one is sparse: as `step` says, else by integer division; 0: none.
std::int64_t sparse_step(const HfConfig& config, const char* step, const char* count,
                         std::int64_t layers) {
  const std::int64_t sparse = config.integer(count, 3),
                     said = config.integer(step, sparse > 0 ? layers / sparse : 0);
  if (config.has("is_full_sparse")) return 1;  // as QMoE's files say it
  if (said < 0) throw_config_error({config.file(), step}, concat("is ", said));
  return said;
}

// Blocks i with i % step = 1; all for step 1. A stack of which every block is sparse has no losses of its
// routers, as in transformers: the mean over its sparse blocks of the balancing loss of sequences, and of
// the z loss.
std::vector<LayerRule> sparse_blocks(const HfConfig& config, Mixture mixture, std::int64_t step,
                                     std::int64_t layers) {
  std::vector<std::int64_t> blocks;
  for (std::int64_t i = 0; i < layers && step > 0; ++i)
    if (step == 1 || i % step == 1) blocks.push_back(i);
  if (blocks.empty()) return {};
  const double balance = config.number("router_aux_loss_coef", 0.001),
               z = config.number("router_z_loss_coef", 0.001);
  if (step > 1 && balance > 0)
    mixture.router.balance.push_back(
        SwitchLoss{balance, SwitchScale::paper, true, Scope::sequence, true});
  if (step > 1 && z > 0)
    mixture.router.balance.push_back(ZLoss{z / static_cast<double>(blocks.size())});
  return {rule_from({{"layers", blocks}, {"feed_forward", to_json(FeedForwardConfig(mixture))}},
                    config.file())};
}

}  // namespace

FamilyModel read_switch(FamilySource source) {
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_stacks(config);
  config.only("router_dtype", "float32");
  config.only("router_type", "tokens_masked");
  config.only("num_selected_experts", 1);
  config.only("batch_prioritized_routing", false);
  config.ignore({"add_router_probs", "router_ignore_padding_tokens", "output_router_logits"});
  dense_of(model).activation = read_activation(config, "dense_act_fn", "relu");
  config.only("feed_forward_proj", config.word("dense_act_fn", "relu"));
  const Mixture mixture = read_experts(config, model);
  model.encoder.rules = sparse_blocks(
      config, mixture,
      sparse_step(config, "encoder_sparse_step", "num_sparse_encoder_layers", model.encoder.layers),
      model.encoder.layers);
  model.rules = sparse_blocks(
      config, mixture,
      sparse_step(config, "decoder_sparse_step", "num_sparse_decoder_layers", model.layers),
      model.layers);
  config.ignore({"router_aux_loss_coef", "router_z_loss_coef"});
  return finished_stacks(config, std::move(model), kLayers, source);
}

}  // namespace mote::checkpoint
