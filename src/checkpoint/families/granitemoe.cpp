#include "checkpoint/families/decoders.h"
#include "checkpoint/families/experts.h"

namespace mote::checkpoint {
namespace {

std::vector<NameRule> names() {
  constexpr StoredLayout kFirstHalf{0, 0, 2, 1}, kSecondHalf{0, 1, 2, 1};
  return mixture_names(
      {{"blocks.#.feed_forward.router.weight",
        "model.layers.#.block_sparse_moe.router.layer.weight"},
       {"blocks.#.feed_forward.router.weight", "model.layers.#.block_sparse_moe.router.weight"},
       {"blocks.#.feed_forward.experts.gate", "model.layers.#.block_sparse_moe.input_linear.weight",
        kFirstHalf},
       {"blocks.#.feed_forward.experts.up", "model.layers.#.block_sparse_moe.input_linear.weight",
        kSecondHalf},
       {"blocks.#.feed_forward.experts.down",
        "model.layers.#.block_sparse_moe.output_linear.weight"},
       {"blocks.#.feed_forward.experts.gate",
        "model.layers.#.block_sparse_moe.experts.gate_up_proj", kFirstHalf},
       {"blocks.#.feed_forward.experts.up", "model.layers.#.block_sparse_moe.experts.gate_up_proj",
        kSecondHalf},
       {"blocks.#.feed_forward.experts.down",
        "model.layers.#.block_sparse_moe.experts.down_proj"}});
}

}  // namespace

FamilyModel read_granitemoe(FamilySource source) {
  static const std::vector<NameRule> kNames = names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  model.embedding_scale = config.number("embedding_multiplier", 1);
  model.residual_scale = config.number("residual_multiplier", 1);
  const double divisor = config.number("logits_scaling", 1);
  if (!(divisor > 0)) throw_config_error({config.file(), "logits_scaling"}, concat("is ", divisor));
  model.head.scale = 1 / divisor;
  Rotary& attention = attention_of(model);
  attention.bias = attention.output_bias = config.flag("attention_bias", false);
  attention.scale = config.number("attention_multiplier", 1);
  Mixture mixture = read_mixture(config, "intermediate_size", model);
  mixture.router.gate = Gate::softmax_after;
  set_mixture(mixture, {}, config.file(), model);
  return finished(config, std::move(model), kNames, source);
}

}  // namespace mote::checkpoint
