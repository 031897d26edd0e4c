#include "checkpoint/families/t5.h"

#include <algorithm>
#include <cmath>

#include "checkpoint/families/decoder.h"
#include "checkpoint/families/encoder_decoders.h"
#include "kernels/core/dtype.h"

namespace mote::checkpoint {
namespace {

constexpr const char* kEmbeddings[] = {"shared.weight", "encoder.embed_tokens.weight",
                                       "decoder.embed_tokens.weight"};
constexpr const char* kHeads[] = {"lm_head.weight", "decoder.lm_head.weight"};
// Of old files: it was never read.
constexpr const char* kUnusedBias =
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

constexpr NameRule kNames[] = {
    {"embedding.weight", kEmbeddings[0]},
    {"embedding.weight", kEmbeddings[1]},
    {"embedding.weight", kEmbeddings[2]},
    {"head.weight", kHeads[0]},
    {"head.weight", kHeads[1]},

    {"encoder.norm.weight", "encoder.final_layer_norm.weight"},
    {"encoder.position_bias.weight",
     "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"},
    {"encoder.blocks.#.attention_norm.weight", "encoder.block.#.layer.0.layer_norm.weight"},
    {"encoder.blocks.#.attention.q.weight", "encoder.block.#.layer.0.SelfAttention.q.weight"},
    {"encoder.blocks.#.attention.k.weight", "encoder.block.#.layer.0.SelfAttention.k.weight"},
    {"encoder.blocks.#.attention.v.weight", "encoder.block.#.layer.0.SelfAttention.v.weight"},
    {"encoder.blocks.#.attention.out.weight", "encoder.block.#.layer.0.SelfAttention.o.weight"},
    {"encoder.blocks.#.feed_forward_norm.weight", "encoder.block.#.layer.1.layer_norm.weight"},

    {"norm.weight", "decoder.final_layer_norm.weight"},
    {"position_bias.weight",
     "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"},
    {"blocks.#.attention_norm.weight", "decoder.block.#.layer.0.layer_norm.weight"},
    {"blocks.#.attention.q.weight", "decoder.block.#.layer.0.SelfAttention.q.weight"},
    {"blocks.#.attention.k.weight", "decoder.block.#.layer.0.SelfAttention.k.weight"},
    {"blocks.#.attention.v.weight", "decoder.block.#.layer.0.SelfAttention.v.weight"},
    {"blocks.#.attention.out.weight", "decoder.block.#.layer.0.SelfAttention.o.weight"},
    {"blocks.#.cross_attention_norm.weight", "decoder.block.#.layer.1.layer_norm.weight"},
    {"blocks.#.cross_attention.q.weight", "decoder.block.#.layer.1.EncDecAttention.q.weight"},
    {"blocks.#.cross_attention.k.weight", "decoder.block.#.layer.1.EncDecAttention.k.weight"},
    {"blocks.#.cross_attention.v.weight", "decoder.block.#.layer.1.EncDecAttention.v.weight"},
    {"blocks.#.cross_attention.out.weight", "decoder.block.#.layer.1.EncDecAttention.o.weight"},
    {"blocks.#.feed_forward_norm.weight", "decoder.block.#.layer.2.layer_norm.weight"},
};

constexpr NameRule kDense[] = {
    {"encoder.blocks.#.feed_forward.up.weight", "encoder.block.#.layer.1.DenseReluDense.wi.weight"},
    {"encoder.blocks.#.feed_forward.gate.weight",
     "encoder.block.#.layer.1.DenseReluDense.wi_0.weight"},
    {"encoder.blocks.#.feed_forward.up.weight",
     "encoder.block.#.layer.1.DenseReluDense.wi_1.weight"},
    {"encoder.blocks.#.feed_forward.down.weight",
     "encoder.block.#.layer.1.DenseReluDense.wo.weight"},
    {"blocks.#.feed_forward.up.weight", "decoder.block.#.layer.2.DenseReluDense.wi.weight"},
    {"blocks.#.feed_forward.gate.weight", "decoder.block.#.layer.2.DenseReluDense.wi_0.weight"},
    {"blocks.#.feed_forward.up.weight", "decoder.block.#.layer.2.DenseReluDense.wi_1.weight"},
    {"blocks.#.feed_forward.down.weight", "decoder.block.#.layer.2.DenseReluDense.wo.weight"},
};

// Whether `head` is the embedding rounded to bfloat16.
bool is_rounded(const Tensor& head, const Tensor& embedding) {
  if (head.dtype != Dtype::bf16 || embedding.dtype != Dtype::f32 || head.shape != embedding.shape)
    return false;
  const auto rounded = head.copied<std::uint16_t>();
  const auto exact = embedding.copied<float>();
  return std::equal(rounded.begin(), rounded.end(), exact.begin(),
                    [](std::uint16_t a, float b) { return a == kernels::to_bf16(b); });
}

// Those of `names` that are there, the first of which is read.
std::vector<std::string> copies(std::span<const char* const> names, const TensorSource* tensors) {
  std::vector<std::string> found;
  for (const char* name : names)
    if (tensors && tensors->has(name)) found.emplace_back(name);
  for (std::size_t i = 1; i < found.size(); ++i)
    if (!same_values(tensors->at(found[i]), tensors->at(found[0])))
      throw Error(ErrorKind::file,
                  concat(tensors->path().string(), ": tensors '", found[0], "' and '", found[i],
                         "' differ; they are one matrix in this family"))
          .in(tensors->path().string())
          .at(found[i]);
  return found;
}

}  // namespace

ModelConfig read_stacks(const HfConfig& config) {
  config.only("is_encoder_decoder", true);
  config.ignore({"initializer_factor", "decoder_start_token_id", "classifier_dropout",
                 "output_past", "task_specific_params", "is_gated_act", "tokenizer_class",
                 "gradient_checkpointing"});
  ModelConfig model;
  model.vocab_size = config.integer("vocab_size");
  model.dim = config.integer_of({"d_model", "hidden_size"});
  model.encoder.layers = config.integer_of({"num_layers", "num_hidden_layers"});
  model.layers = config.integer("num_decoder_layers", model.encoder.layers);
  model.context = model.encoder.context = config.integer("n_positions", 512);
  model.dropout = config.number("dropout_rate", 0.1);
  model.head.bias = false;
  model.norms.kind = NormKind::rms;
  model.norms.epsilon = config.number("layer_norm_epsilon", 1e-6);
  Bucketed attention;
  attention.heads = config.integer_of({"num_heads", "num_attention_heads"});
  attention.head_dim = config.integer("d_kv", 64);
  attention.buckets = config.integer("relative_attention_num_buckets", 32);
  attention.max_distance = config.integer("relative_attention_max_distance", 128);
  model.attention = attention;
  model.feed_forward = Dense{config.integer("d_ff"), NeuronActivation::relu, false, false};
  check_ranges(model, config.file());
  if (model.encoder.layers < 1)
    throw_config_error({config.file(), "num_layers"}, concat("is ", model.encoder.layers));
  return model;
}

FamilyModel finished_stacks(const HfConfig& config, ModelConfig model,
                            std::span<const NameRule> feed_forward, const FamilySource& source) {
  const bool said_tied = config.flag("tie_word_embeddings", true);
  if (config.flag("scale_decoder_outputs", said_tied))
    model.head.scale = 1 / std::sqrt(static_cast<double>(model.dim));
  config.check_all_used();

  const auto tensors = source.tensors ? source.tensors() : nullptr;
  const std::vector<std::string> embeddings = copies(kEmbeddings, tensors.get()),
                                 heads = copies(kHeads, tensors.get());
  // QMoE's files have all matrices rounded but the embedding, and its program puts the head, which it reads
  // last, into the place that both share.
  const bool rounded = said_tied && !heads.empty() && !embeddings.empty() &&
                       is_rounded(tensors->at(heads[0]), tensors->at(embeddings[0]));
  // Without the files, as the config says.
  model.tied = tensors ? rounded || heads.empty() ||
                             (!embeddings.empty() &&
                              same_values(tensors->at(heads[0]), tensors->at(embeddings[0])))
                       : said_tied;
  const std::string embedding = rounded ? heads[0] : embeddings.empty() ? "" : embeddings[0];
  std::vector<std::string> ignored = embeddings;
  for (const std::string& head : heads)  // the first one is the model's own, unless they are tied
    if (model.tied || head != heads.front()) ignored.push_back(head);
  std::erase(ignored, embedding);
  ignored.emplace_back(kUnusedBias);

  check_ranges(model, config.file());
  validate(model, {config.file(), ""});
  FamilyModel read;
  read.config = std::move(model);
  read.ignored = [ignored](const std::string& tensor) {
    return std::find(ignored.begin(), ignored.end(), tensor) != ignored.end();
  };
  std::vector<NameRule> names(std::begin(kNames), std::end(kNames));
  names.insert(names.end(), feed_forward.begin(), feed_forward.end());
  read.stored = [names, tensors, embedding](const std::string& parameter) {
    if (parameter == "embedding.weight" && !embedding.empty()) return StoredTensor{embedding};
    return stored_by(names, parameter,
                     [&](const std::string& name) { return tensors && tensors->has(name); });
  };
  return read;
}

FamilyModel read_t5(FamilySource source) {
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_stacks(config);
  // "relu", "gated-gelu", ...; the latter always meant the approximation.
  constexpr std::string_view kGated = "gated-";
  const std::string units = config.word("feed_forward_proj", "relu");
  Dense& dense = dense_of(model);
  dense.gated = units.starts_with(kGated);
  if (units == "gated-gelu") {
    dense.activation = NeuronActivation::gelu_tanh;
    config.ignore({"dense_act_fn"});
  } else {
    const std::string name = dense.gated ? units.substr(kGated.size()) : units;
    dense.activation = activation_named(name, {config.file(), "feed_forward_proj"});
    config.only("dense_act_fn", name);
  }
  return finished_stacks(config, std::move(model), kDense, source);
}

}  // namespace mote::checkpoint
