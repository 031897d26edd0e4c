// What the keys of GGUF files say of a model, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "base/check.h"
#include "checkpoint/family.h"
#include "checkpoint/gguf_tokenizer.h"
#include "checkpoint/gguf_writer.h"
#include "tests/support/contains.h"
#include "tests/support/files.h"

namespace mote::checkpoint {
namespace {

using test::contains;

using Keys = std::map<std::string, std::function<void(GgufKeyList&, const std::string&)>>;

template <class T>
auto number(T value) {
  return [value](GgufKeyList& keys, const std::string& name) { keys.add(name, value); };
}
template <class T>
auto numbers(std::vector<T> values) {
  return [values](GgufKeyList& keys, const std::string& name) { keys.add_array(name, values); };
}
auto word(const std::string& value) {
  return [value](GgufKeyList& keys, const std::string& name) { keys.add_text(name, value); };
}
auto words(const std::vector<std::string>& values) {
  return [values](GgufKeyList& keys, const std::string& name) {
    keys.add_texts(name, {values.begin(), values.end()});
  };
}

// Sizes of a small model of an architecture.
Keys sizes(const std::string& a) {
  return {{"general.architecture", word(a)},
          {a + ".block_count", number(std::uint32_t{7})},
          {a + ".context_length", number(std::uint32_t{64})},
          {a + ".embedding_length", number(std::uint32_t{32})},
          {a + ".feed_forward_length", number(std::uint32_t{48})},
          {a + ".attention.head_count", number(std::uint32_t{4})},
          {a + ".attention.head_count_kv", number(std::uint32_t{2})},
          {a + ".attention.layer_norm_rms_epsilon", number(1e-5f)}};
}

Rotary attention_of(const AttentionConfig& config) {
  return *config.get_if<Rotary>();
}
Rotary attention_of(const ModelConfig& config, std::int64_t layer) {
  return attention_of(layer_config(config, layer).attention);
}

class GgufFamily : public ::testing::Test {
 protected:
  // `values`: of the tensors `more`; none: 32 zeros.
  GgufFile file(const Keys& keys, const std::vector<std::string>& more = {},
                const std::vector<float>& values = {}) {
    GgufKeyList list;
    for (const auto& [name, add] : keys) add(list, name);
    std::vector<TensorSpec> specs = {{"token_embd.weight", Dtype::f32, {10, 32}}};
    const auto count = static_cast<std::int64_t>(values.empty() ? 32 : values.size());
    for (const std::string& name : more) specs.push_back({name, Dtype::f32, {count}});
    const fs::path path = folder_.path() / "m.gguf";
    GgufWriter writer(path, list, specs);
    for (const TensorSpec& spec : specs)
      if (values.empty() || spec.shape.size() > 1)
        writer.write(spec.name, std::vector<std::byte>(byte_count(spec.dtype, spec.shape).bytes));
      else
        writer.write(spec.name, std::as_bytes(std::span(values)));
    writer.commit();
    return GgufFile(path);
  }
  ModelConfig config(const Keys& keys, const std::vector<std::string>& more = {},
                     const std::vector<float>& values = {}) {
    return read_gguf_model(file(keys, more, values)).config;
  }
  std::string refusal(const Keys& keys) {
    try {
      config(keys);
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), "m.gguf")) << error.what();
      return error.what();
    }
    return "accepted";
  }

 private:
  const test::TemporaryFolder folder_;
};

TEST_F(GgufFamily, OfLlamaTurnsNeighboursAndTiesWhereThereIsNoOutput) {
  const ModelConfig model = config(sizes("llama"));
  EXPECT_EQ(model.vocab_size, 10);
  EXPECT_EQ(model.layers, 7);
  EXPECT_EQ(model.context, 64);
  EXPECT_TRUE(model.tied);
  EXPECT_EQ(model.norms.epsilon, static_cast<double>(1e-5f));
  const auto& attention = *model.attention.get_if<Rotary>();
  EXPECT_EQ(attention.heads, 4);
  EXPECT_EQ(attention.key_heads, 2);
  EXPECT_EQ(attention.head_dim, 8);
  EXPECT_EQ(attention.rotary.pairs, RotaryPairs::adjacent);
  EXPECT_EQ(attention.rotary.base, 10000);
  EXPECT_FALSE(attention.bias);
  EXPECT_FALSE(config(sizes("llama"), {"output.weight"}).tied);
  EXPECT_TRUE(attention_of(config(sizes("llama"), {"blk.0.attn_q.bias"}), 0).bias);
}

// With experts in every layer.
Keys mixture(const std::string& a) {
  Keys keys = sizes(a);
  keys[a + ".expert_count"] = number(std::uint32_t{4});
  keys[a + ".expert_used_count"] = number(std::uint32_t{2});
  keys[a + ".expert_feed_forward_length"] = number(std::uint32_t{24});
  return keys;
}
Mixture mixture_of(const FeedForwardConfig& config) {
  return *config.get_if<Mixture>();
}
std::string kind_of(const ModelConfig& model, std::int64_t layer) {
  return layer_config(model, layer).feed_forward.kind();
}
std::vector<std::string> routers(std::initializer_list<int> layers) {
  std::vector<std::string> names;
  for (const int layer : layers) names.push_back(concat("blk.", layer, ".ffn_gate_inp.weight"));
  return names;
}

TEST_F(GgufFamily, OfMixturesHasTheGatesOfItsArchitecture) {
  const auto all = routers({0, 1, 2, 3, 4, 5, 6});
  const auto read = [&](const char* a) { return mixture_of(config(mixture(a), all).feed_forward); };
  for (const char* a : {"llama", "olmoe", "qwen2moe", "qwen3moe"}) {
    const Mixture mixture = read(a);
    EXPECT_EQ(mixture.experts, 4);
    EXPECT_EQ(mixture.expert_width, 24);
    EXPECT_EQ(mixture.router.experts_per_token, 2);
    EXPECT_EQ(mixture.router.gate, Gate::softmax_before);
    EXPECT_TRUE(mixture.gated);
  }
  EXPECT_TRUE(read("llama").router.renormalise);
  EXPECT_FALSE(read("olmoe").router.renormalise);
  EXPECT_FALSE(read("qwen2moe").router.renormalise);
  EXPECT_TRUE(read("qwen3moe").router.renormalise);
  EXPECT_EQ(attention_of(config(mixture("olmoe"), all), 0).head_norm, HeadNorm::all);
  EXPECT_EQ(attention_of(config(mixture("qwen3moe"), all), 0).head_norm, HeadNorm::head);
  EXPECT_EQ(attention_of(config(mixture("qwen3moe"), all), 0).rotary.pairs, RotaryPairs::halves);
  Keys keys = mixture("llama");
  keys.erase("llama.expert_feed_forward_length");
  EXPECT_EQ(mixture_of(config(keys, all).feed_forward).expert_width, 48);
}

TEST_F(GgufFamily, OfGptOssSeesAWindowInEverySecondLayer) {
  Keys keys = mixture("gpt-oss");
  keys["gpt-oss.attention.sliding_window"] = number(std::uint32_t{9});
  keys["gpt-oss.rope.scaling.type"] = word("yarn");
  keys["gpt-oss.rope.scaling.factor"] = number(32.0f);
  keys["gpt-oss.rope.scaling.original_context_length"] = number(std::uint32_t{16});
  const ModelConfig model = config(keys, routers({0, 1, 2, 3, 4, 5, 6}));
  for (const std::int64_t layer : {0, 2, 4, 6}) EXPECT_EQ(attention_of(model, layer).window, 9);
  for (const std::int64_t layer : {1, 3, 5}) EXPECT_EQ(attention_of(model, layer).window, 0);
  EXPECT_TRUE(attention_of(model, 0).sinks);
  const RotaryConfig rotary = attention_of(model, 0).rotary;
  EXPECT_FALSE(rotary.scaling.get_if<YarnScaling>()->truncate);
  const Mixture found = mixture_of(model.feed_forward);
  EXPECT_EQ(found.router.gate, Gate::softmax_after);
  EXPECT_EQ(found.unit.limit, 7);
  EXPECT_TRUE(found.bias);
  keys["gpt-oss.expert_gating_func"] = number(std::uint32_t{1});
  EXPECT_TRUE(contains(refusal(keys), "expert_gating_func"));
}

Latent latent_of(const ModelConfig& model) {
  return *model.attention.get_if<Latent>();
}

TEST_F(GgufFamily, OfDeepseekHasLatentAttentionAndItsOwnGates) {
  Keys keys = mixture("deepseek2");
  const auto set = [&](const char* name, const auto& value) {
    keys[std::string("deepseek2.") + name] = value;
  };
  set("attention.kv_lora_rank", number(std::uint32_t{12}));
  set("attention.key_length", number(std::uint32_t{24}));
  set("attention.value_length", number(std::uint32_t{16}));
  set("rope.dimension_count", number(std::uint32_t{8}));
  set("expert_shared_count", number(std::uint32_t{2}));
  set("leading_dense_block_count", number(std::uint32_t{1}));
  set("expert_weights_scale", number(2.5f));
  ModelConfig model = config(keys);
  EXPECT_EQ(latent_of(model).kv_rank, 12);
  EXPECT_EQ(latent_of(model).head_dim, 24);
  EXPECT_EQ(latent_of(model).rope_dim, 8);
  EXPECT_EQ(latent_of(model).value_dim, 16);
  EXPECT_EQ(latent_of(model).scale, 0) << "1 / sqrt(head_dim)";
  EXPECT_EQ(kind_of(model, 0), "dense");
  Mixture found = mixture_of(model.feed_forward);
  EXPECT_EQ(found.shared.width, 48);
  EXPECT_EQ(found.router.gate, Gate::softmax_before);
  EXPECT_EQ(found.router.gate_scale, 2.5);
  EXPECT_FALSE(found.router.selection_bias);

  set("expert_gating_func", number(std::uint32_t{2}));
  set("expert_weights_norm", number(true));
  set("expert_group_count", number(std::uint32_t{2}));
  set("expert_group_used_count", number(std::uint32_t{1}));
  set("rope.scaling.type", word("yarn"));
  set("rope.scaling.factor", number(40.0f));
  set("rope.scaling.yarn_log_multiplier", number(0.1f));
  model = config(keys, {"blk.1.exp_probs_b.bias"});
  found = mixture_of(model.feed_forward);
  EXPECT_EQ(found.router.gate, Gate::sigmoid);
  EXPECT_TRUE(found.router.renormalise);
  EXPECT_TRUE(found.router.selection_bias);
  EXPECT_EQ(found.router.select.kind(), std::string("grouped"));
  const double m = 1 + static_cast<double>(0.1f) * std::log(40);
  EXPECT_NEAR(latent_of(model).scale, m * m / std::sqrt(24), 1e-12);

  set("attention.key_length_mla", number(std::uint32_t{24}));
  EXPECT_TRUE(contains(refusal(keys), "key_length_mla")) << "keys and values apart";
}

TEST_F(GgufFamily, OfMixturesHasDenseLayersWhereThereIsNoRouter) {
  const ModelConfig model = config(mixture("qwen2moe"), routers({1, 2, 3, 4, 6}));
  for (const std::int64_t layer : {0, 5}) EXPECT_EQ(kind_of(model, layer), "dense");
  EXPECT_EQ(kind_of(model, 6), "mixture");
  Keys keys = mixture("qwen2moe");
  keys["qwen2moe.expert_shared_feed_forward_length"] = number(std::uint32_t{40});
  const SharedExpert shared =
      mixture_of(config(keys, routers({0, 1, 2, 3, 4, 5, 6})).feed_forward).shared;
  EXPECT_EQ(shared.width, 40);
  EXPECT_TRUE(shared.gated_output);
}

TEST_F(GgufFamily, RefusesGatesThatItsArchitectureHasNot) {
  const auto refused = [&](const char* key,
                           const std::function<void(GgufKeyList&, const std::string&)>& add) {
    Keys keys = mixture("qwen3moe");
    keys[std::string("qwen3moe.") + key] = add;
    return refusal(keys);
  };
  EXPECT_TRUE(
      contains(refused("expert_gating_func", number(std::uint32_t{2})), "expert_gating_func"));
  EXPECT_TRUE(contains(refused("expert_weights_norm", number(false)), "only true is read"));
  EXPECT_TRUE(contains(refused("expert_weights_scale", number(2.5f)), "expert_weights_scale"));
}

TEST_F(GgufFamily, ReadsRotaryScalings) {
  Keys keys = sizes("llama");
  keys["llama.rope.freq_base"] = number(5e5f);
  keys["llama.rope.dimension_count"] = number(std::uint32_t{6});
  keys["llama.rope.scaling.type"] = word("linear");
  keys["llama.rope.scaling.factor"] = number(4.0f);
  RotaryConfig rotary = attention_of(config(keys), 0).rotary;
  EXPECT_EQ(rotary.base, 5e5);
  EXPECT_EQ(rotary.dim, 6);
  ASSERT_NE(rotary.scaling.get_if<LinearScaling>(), nullptr);
  EXPECT_EQ(rotary.scaling.get_if<LinearScaling>()->factor, 4);
  keys["llama.rope.scaling.type"] = word("yarn");
  keys["llama.rope.scaling.original_context_length"] = number(std::uint32_t{16});
  rotary = attention_of(config(keys), 0).rotary;
  ASSERT_NE(rotary.scaling.get_if<YarnScaling>(), nullptr);
  EXPECT_EQ(rotary.scaling.get_if<YarnScaling>()->context, 16);
  keys["llama.rope.scaling.type"] = word("longrope");
  EXPECT_TRUE(contains(refusal(keys), "llama.rope.scaling.type"));
}

TEST_F(GgufFamily, OfLlama3HasItsDivisorsOfFrequencies) {
  const ModelConfig model = config(sizes("llama"), {"rope_freqs.weight"}, {1, 2, 4, 8});
  const RotaryConfig rotary = attention_of(model, 0).rotary;
  for (const std::int64_t positions : {1, 1'000'000}) {
    const RotaryFrequencies frequencies = rotary_frequencies(rotary, 8, positions);
    for (std::size_t m = 0; m < 4; ++m)
      EXPECT_NEAR(frequencies.of_pair[m], std::pow(10, -static_cast<double>(m)) / std::pow(2, m),
                  1e-12);
    EXPECT_EQ(frequencies.factor, 1);
  }
  EXPECT_THROW(config(sizes("llama"), {"rope_freqs.weight"}, {1, 2, 4}), Error);
  EXPECT_THROW(config(sizes("llama"), {"rope_freqs.weight"}, {1, 2, 4, 0}), Error);
}

TEST_F(GgufFamily, OfGemmaSeesAllInEverySixthLayer) {
  Keys keys = sizes("gemma3");
  keys["gemma3.attention.sliding_window"] = number(std::uint32_t{5});
  keys["gemma3.attention.key_length"] = number(std::uint32_t{12});
  keys["gemma3.attention.value_length"] = number(std::uint32_t{12});
  const auto windows = [&] {
    std::vector<std::int64_t> all;
    const ModelConfig model = config(keys);
    for (std::int64_t i = 0; i < model.layers; ++i) all.push_back(attention_of(model, i).window);
    return all;
  };
  EXPECT_EQ(windows(), (std::vector<std::int64_t>{5, 5, 5, 5, 5, 0, 5}));
  keys["gemma3.attention.sliding_window_pattern"] = number(std::uint32_t{2});
  EXPECT_EQ(windows(), (std::vector<std::int64_t>{5, 0, 5, 0, 5, 0, 5}));
  const ModelConfig model = config(keys);
  EXPECT_EQ(model.embedding_scale, static_cast<double>(std::sqrt(32.0f)));
  EXPECT_EQ(model.norms.weight_offset, 0);
  EXPECT_TRUE(model.norms.after);
  EXPECT_EQ(attention_of(model, 0).rotary.base, 10000);
  EXPECT_EQ(attention_of(model, 1).rotary.base, 1e6);
  keys["gemma3.attention.sliding_window_pattern"] = number(std::uint32_t{0});
  EXPECT_TRUE(contains(refusal(keys), "sliding_window_pattern"));
}

TEST_F(GgufFamily, RefusesWhatItDoesNotKnowByName) {
  const auto with = [](const std::string& name, auto value) {
    Keys keys = sizes("llama");
    keys[name] = value;
    return keys;
  };
  EXPECT_TRUE(
      contains(refusal(with("llama.new_feature", number(std::uint32_t{1}))), "llama.new_feature"));
  EXPECT_TRUE(contains(refusal(with("llama.expert_count", number(std::uint32_t{8}))),
                       "llama.expert_used_count"));
  EXPECT_TRUE(contains(refusal(mixture("olmoe")), "no layer has a router"));
  EXPECT_TRUE(contains(refusal(with("llama.attention.value_length", number(std::uint32_t{4}))),
                       "llama.attention.value_length"));
  EXPECT_TRUE(contains(refusal(with("llama.attention.head_count", number(std::uint32_t{0}))),
                       "llama.attention.head_count"));
  EXPECT_TRUE(contains(refusal(with("llama.feed_forward_length", numbers(std::vector<std::uint32_t>{
                                                                     48, 48, 48, 24, 48, 48, 48}))),
                       "llama.feed_forward_length"));
  EXPECT_TRUE(contains(refusal(with("general.architecture", word("rwkv7"))), "rwkv7"));
  Keys keys = sizes("llama");
  keys.erase("llama.block_count");
  EXPECT_TRUE(contains(refusal(keys), "llama.block_count"));
  EXPECT_EQ(config(with("llama.expert_count", number(std::uint32_t{0}))).layers, 7);
  EXPECT_EQ(
      config(with("llama.feed_forward_length", numbers(std::vector<std::uint32_t>(7, 48)))).layers,
      7);
  EXPECT_EQ(config(with("other.key", number(std::uint32_t{1}))).layers, 7) << "not the model's";
}

TEST_F(GgufFamily, HasATokenizerInItsKeys) {
  Keys keys = sizes("llama");
  keys["tokenizer.ggml.model"] = word("llama");
  keys["tokenizer.ggml.tokens"] = words({"<unk>", "<s>", "</s>", "a", "\xE2\x96\x81"});
  keys["tokenizer.ggml.scores"] = numbers(std::vector<float>{0, 0, 0, -1, -2});
  keys["tokenizer.ggml.token_type"] = numbers(std::vector<std::int32_t>{2, 3, 3, 1, 1});
  keys["tokenizer.ggml.bos_token_id"] = number(std::uint32_t{1});
  keys["tokenizer.ggml.eos_token_id"] = number(std::uint32_t{2});
  keys["tokenizer.ggml.add_space_prefix"] = number(false);
  const text::GgufVocabulary v = vocabulary_in(file(keys));
  EXPECT_EQ(v.tokens.size(), 5u);
  EXPECT_EQ(v.scores[4], -2);
  EXPECT_EQ(v.types[0], 2);
  EXPECT_EQ(v.roles.begin, 1);
  EXPECT_EQ(v.space_prefix, false);
  EXPECT_FALSE(v.add_begin.has_value());
  keys["tokenizer.ggml.bos_token_id"] = number(std::uint64_t{1} << 40);
  EXPECT_THROW(vocabulary_in(file(keys)), Error);
  keys.erase("tokenizer.ggml.model");
  EXPECT_THROW(vocabulary_in(file(keys)), Error);
}

}  // namespace
}  // namespace mote::checkpoint
