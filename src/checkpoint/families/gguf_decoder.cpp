#include "checkpoint/families/gguf_decoder.h"

#include "checkpoint/families/decoder.h"

namespace mote::checkpoint {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";

constexpr StoredLayout flat() {
  StoredLayout layout;
  layout.flat = true;
  return layout;
}
constexpr StoredLayout kFlat = flat();

constexpr NameRule kNames[] = {
    {"embedding.weight", kEmbedding},
    {"head.weight", "output.weight"},
    {"norm.weight", "output_norm.weight"},
    {"blocks.#.attention_norm.weight", "blk.#.attn_norm.weight"},
    {"blocks.#.feed_forward_norm.weight", "blk.#.ffn_norm.weight"},
    {"blocks.#.after_attention_norm.weight", "blk.#.post_attention_norm.weight"},
    {"blocks.#.after_feed_forward_norm.weight", "blk.#.post_ffw_norm.weight"},
    {"blocks.#.attention.q.weight", "blk.#.attn_q.weight"},
    {"blocks.#.attention.k.weight", "blk.#.attn_k.weight"},
    {"blocks.#.attention.v.weight", "blk.#.attn_v.weight"},
    {"blocks.#.attention.out.weight", "blk.#.attn_output.weight"},
    {"blocks.#.attention.q.bias", "blk.#.attn_q.bias"},
    {"blocks.#.attention.k.bias", "blk.#.attn_k.bias"},
    {"blocks.#.attention.v.bias", "blk.#.attn_v.bias"},
    {"blocks.#.attention.out.bias", "blk.#.attn_output.bias"},
    {"blocks.#.attention.q_norm.weight", "blk.#.attn_q_norm.weight"},
    {"blocks.#.attention.k_norm.weight", "blk.#.attn_k_norm.weight"},
    {"blocks.#.attention.sinks", "blk.#.attn_sinks.weight"},
    {"blocks.#.feed_forward.gate.weight", "blk.#.ffn_gate.weight"},
    {"blocks.#.feed_forward.up.weight", "blk.#.ffn_up.weight"},
    {"blocks.#.feed_forward.down.weight", "blk.#.ffn_down.weight"},
    {"blocks.#.feed_forward.gate.bias", "blk.#.ffn_gate.bias"},
    {"blocks.#.feed_forward.up.bias", "blk.#.ffn_up.bias"},
    {"blocks.#.feed_forward.down.bias", "blk.#.ffn_down.bias"},
    {"blocks.#.feed_forward.router.weight", "blk.#.ffn_gate_inp.weight"},
    {"blocks.#.feed_forward.router.selection_bias", "blk.#.exp_probs_b.bias"},
    {"blocks.#.feed_forward.router.bias", "blk.#.ffn_gate_inp.bias"},
    {"blocks.#.feed_forward.experts.gate.bias", "blk.#.ffn_gate_exps.bias"},
    {"blocks.#.feed_forward.experts.up.bias", "blk.#.ffn_up_exps.bias"},
    {"blocks.#.feed_forward.experts.down.bias", "blk.#.ffn_down_exps.bias"},
    {"blocks.#.feed_forward.experts.gate", "blk.#.ffn_gate_exps.weight"},
    {"blocks.#.feed_forward.experts.up", "blk.#.ffn_up_exps.weight"},
    {"blocks.#.feed_forward.experts.down", "blk.#.ffn_down_exps.weight"},
    {"blocks.#.feed_forward.shared.gate.weight", "blk.#.ffn_gate_shexp.weight"},
    {"blocks.#.feed_forward.shared.up.weight", "blk.#.ffn_up_shexp.weight"},
    {"blocks.#.feed_forward.shared.down.weight", "blk.#.ffn_down_shexp.weight"},
    {"blocks.#.feed_forward.shared_gate.weight", "blk.#.ffn_gate_inp_shexp.weight", kFlat},
};

}  // namespace

std::span<const NameRule> gguf_names() {
  return kNames;
}

ModelConfig read_gguf_decoder(const GgufConfig& config, const GgufSource& file, double rope_base) {
  ModelConfig model;
  const Tensor& embedding = file.at(kEmbedding);
  model.vocab_size =
      config.integer("vocab_size", embedding.shape.empty() ? 0 : embedding.shape.front());
  model.layers = config.integer("block_count");
  model.dim = config.integer("embedding_length");
  model.context = config.integer("context_length");
  model.tied = !file.has("output.weight");
  model.head.bias = false;
  model.norms.kind = NormKind::rms;
  model.norms.epsilon = config.number("attention.layer_norm_rms_epsilon");

  Rotary attention;
  attention.heads = config.per_layer("attention.head_count", model.layers, 0);
  if (attention.heads < 1)
    config.refuse("attention.head_count", concat("is ", attention.heads, "; it must be 1 or more"));
  attention.key_heads = config.per_layer("attention.head_count_kv", model.layers, attention.heads);
  attention.head_dim = config.integer("attention.key_length", model.dim / attention.heads);
  if (!config.has("attention.kv_lora_rank"))  // else values have a width of their own
    config.only("attention.value_length", attention.head_dim);
  attention.bias = file.has("blk.0.attn_q.bias");
  attention.output_bias = file.has("blk.0.attn_output.bias");
  attention.rotary = config.rotary(rope_base, model.context);
  model.attention = attention;
  model.feed_forward = Dense{config.per_layer("feed_forward_length", model.layers, 0),
                             NeuronActivation::silu, true, file.has("blk.0.ffn_up.bias")};
  check_ranges(model, config.file());
  return model;
}

FamilyModel finished(const GgufConfig& config, ModelConfig model, std::span<const NameRule> own) {
  config.check_all_used();
  check_ranges(model, config.file());
  validate(model, {config.file(), ""});
  FamilyModel read;
  read.config = std::move(model);
  read.stored = [own](const std::string& parameter) {
    const auto any = [](const std::string&) { return true; };
    StoredTensor stored = stored_by(own, parameter, any);
    return stored.name.empty() ? stored_by(kNames, parameter, any) : stored;
  };
  return read;
}

}  // namespace mote::checkpoint
