#include "checkpoint/families/decoders.h"
#include "checkpoint/families/experts.h"

namespace mote::checkpoint {
namespace {

// Gate and up take turns: columns of [E, in, 2 out] in bfloat16, rows of [E, 2 out, in] in MXFP4.
constexpr StoredLayout turns(std::int64_t part, bool mxfp4) {
  StoredLayout layout{1, part, 2, 1};
  layout.transposed = !mxfp4;
  layout.mxfp4 = mxfp4;
  return layout;
}

std::vector<NameRule> names() {
  constexpr const char* kGateUp = "model.layers.#.mlp.experts.gate_up_proj";
  constexpr const char* kDown = "model.layers.#.mlp.experts.down_proj";
  StoredLayout transposed, mxfp4;
  transposed.transposed = true;
  mxfp4.axis = 1, mxfp4.mxfp4 = true;
  return mixture_names(
      {{"blocks.#.feed_forward.router.weight", "model.layers.#.mlp.router.weight"},
       {"blocks.#.feed_forward.router.bias", "model.layers.#.mlp.router.bias"},
       {"blocks.#.feed_forward.experts.gate", kGateUp, turns(0, false)},
       {"blocks.#.feed_forward.experts.up", kGateUp, turns(1, false)},
       {"blocks.#.feed_forward.experts.down", kDown, transposed},
       {"blocks.#.feed_forward.experts.gate", kGateUp, turns(0, true)},
       {"blocks.#.feed_forward.experts.up", kGateUp, turns(1, true)},
       {"blocks.#.feed_forward.experts.down", kDown, mxfp4},
       {"blocks.#.feed_forward.experts.gate.bias",
        "model.layers.#.mlp.experts.gate_up_proj_bias",
        {1, 0, 2, 1}},
       {"blocks.#.feed_forward.experts.up.bias",
        "model.layers.#.mlp.experts.gate_up_proj_bias",
        {1, 1, 2, 1}},
       {"blocks.#.feed_forward.experts.down.bias", "model.layers.#.mlp.experts.down_proj_bias"}});
}

}  // namespace

FamilyModel read_gpt_oss(FamilySource source) {
  static const std::vector<NameRule> kNames = names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 150000);
  model.norms.epsilon = config.number("rms_norm_eps", 1e-5);
  Rotary& attention = attention_of(model);
  attention.bias = attention.output_bias = config.flag("attention_bias", true);
  attention.sinks = true;
  read_windows(
      config, config.integer("sliding_window", 128),
      [](std::int64_t layer) { return layer % 2 == 0; }, Json::object(), model);
  Mixture mixture = read_mixture(config, "intermediate_size", model);
  mixture.bias = true;
  mixture.unit = {config.number("swiglu_alpha", 1.702), config.number("swiglu_limit", 7), 1};
  mixture.router.score = LinearScore{true, true};
  mixture.router.gate = Gate::softmax_after;
  set_mixture(mixture, {}, config.file(), model);
  config.ignore({"initial_context_length", "experts_per_token"});
  if (config.has("quantization_config") && !is_mxfp4(config.at("quantization_config")))
    config.only("quantization_config", "mxfp4");
  return finished(config, std::move(model), kNames, source);
}

}  // namespace mote::checkpoint
