// Models in GGUF files: the reference checkpoints written as one, and rows of blocks.
#include <gtest/gtest.h>

#include "base/check.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/safetensors.h"
#include "model/packed_weight.h"
#include "model/saved.h"
#include "tests/support/contains.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/models.h"
#include "tests/support/packed.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;
using checkpoint::GgufKeyList;

// One tensor of a GGUF file; rows are of float32 or encoded.
struct Stored {
  std::string name;
  std::vector<std::int64_t> shape;
  Dtype dtype;
  std::vector<std::byte> bytes;
};

Stored stored(const std::string& name, const Tensor& x, Dtype dtype = Dtype::f32) {
  const Tensor values = x.to(torch::kFloat32).contiguous();
  return {name, x.sizes().vec(), dtype,
          checkpoint::encoded(
              dtype, {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())})};
}

void write(const fs::path& path, const GgufKeyList& keys, const std::vector<Stored>& tensors) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const Stored& t : tensors) specs.push_back({t.name, t.dtype, t.shape});
  checkpoint::GgufWriter writer(path, keys, specs);
  for (const Stored& t : tensors) writer.write(t.name, t.bytes);
  writer.commit();
}

// ---- the reference checkpoints

constexpr std::pair<const char*, const char*> kNames[] = {
    {"model.embed_tokens.", "token_embd."},
    {"lm_head.", "output."},
    {"model.norm.", "output_norm."},
    {"model.layers.", "blk."},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"input_layernorm", "attn_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"}};

std::string gguf_name(std::string name, bool gemma) {
  const auto replace = [&](const std::string& from, const std::string& to) {
    if (const std::size_t at = name.find(from); at != std::string::npos)
      name.replace(at, from.size(), to);
  };
  for (const auto& [from, to] : kNames) replace(from, to);
  replace("post_attention_layernorm", gemma ? "post_attention_norm" : "ffn_norm");
  return name;
}

// As converters write a config.json of Hugging Face.
void add_keys(const Json& config, const std::string& a, GgufKeyList& keys) {
  const auto size = [&](const char* name, const char* from) {
    keys.add(a + "." + name, config.at(from).get<std::uint32_t>());
  };
  keys.add_text("general.architecture", a);
  size("block_count", "num_hidden_layers");
  size("context_length", "max_position_embeddings");
  size("embedding_length", "hidden_size");
  size("feed_forward_length", "intermediate_size");
  size("attention.head_count", "num_attention_heads");
  size("attention.head_count_kv", "num_key_value_heads");
  size("attention.key_length", "head_dim");
  size("attention.value_length", "head_dim");
  keys.add(a + ".attention.layer_norm_rms_epsilon", config.at("rms_norm_eps").get<float>());
  if (a != "gemma3") return;
  size("attention.sliding_window", "sliding_window");
  std::vector<bool> slides;
  for (const Json& type : config.at("layer_types")) slides.push_back(type == "sliding_attention");
  std::vector<std::uint8_t> flags(slides.begin(), slides.end());
  keys.add(a + ".attention.sliding_window_pattern",
           checkpoint::GgufValue{checkpoint::GgufType::boolean, true, flags.size(),
                                 std::as_bytes(std::span(flags))});
}

// Rows of each head so that neighbours turn together: row 2 i + s was s C / 2 + i.
Tensor with_neighbours(const Tensor& w, std::int64_t head_dim) {
  return w.view({-1, 2, head_dim / 2, w.size(1)}).transpose(1, 2).reshape(w.sizes());
}

TEST(FixturesGguf, GiveTheLogitsOfTheSameModelOfHuggingFace) {
  const fs::path root = test::fixtures_folder();
  if (!fs::exists(root)) GTEST_SKIP() << "no reference outputs at " << root;
  int read = 0;
  for (const auto& [kind, folder] : test::find_fixtures(root)) {
    const bool gemma = kind == "checkpoint:gemma3_text";
    if ((kind != "checkpoint:llama" && !gemma) || !fs::exists(folder / "model.safetensors"))
      continue;
    SCOPED_TRACE(folder);
    const Json config = test::read_json(folder / "config.json");
    if (!gemma && !config.value("rope_scaling", Json()).is_null()) continue;
    const auto head_dim = config.at("head_dim").get<std::int64_t>();
    const auto source = std::make_shared<checkpoint::SafetensorsFile>(folder / "model.safetensors");
    std::vector<Stored> tensors;
    for (const auto& [name, tensor] : source->tensors()) {
      Tensor x = tensor_over(tensor, source, name, "fixture").to(torch::kFloat32);
      const auto is = [&](const char* part) { return name.find(part) != std::string::npos; };
      if (gemma && name.find("norm") != std::string::npos) x = x + 1;
      // The file has no scale of scores but that of the heads' width.
      if (gemma && is("q_norm"))
        x = x * std::sqrt(static_cast<double>(head_dim) /
                          config.at("query_pre_attn_scalar").get<double>());
      if (!gemma && (is("q_proj") || is("k_proj"))) x = with_neighbours(x, head_dim);
      tensors.push_back(stored(gguf_name(name, gemma), x));
    }
    GgufKeyList keys;
    add_keys(config, gemma ? "gemma3" : "llama", keys);
    const test::TemporaryFolder scratch;
    write(scratch.path() / "m.gguf", keys, tensors);
    const auto theirs = load_model(folder, serial()),
               ours = load_model(scratch.path() / "m.gguf", serial());
    const torch::NoGradGuard no_grad;
    const Tensor ids = (torch::arange(24) * 7).remainder(ours->config().vocab_size).view({2, 12});
    const Pass pass = testing::test_pass();
    const auto logits = [&](const Model& model) {
      ForwardState state(pass);
      return model.logits(model.hidden(ids, state), pass);
    };
    testing::expect_close(logits(*ours), logits(*theirs), 1e-5);
    EXPECT_EQ(load_model(scratch.path(), serial())->config().dim, ours->config().dim)
        << "a folder that has the file alone";
    ++read;
  }
  EXPECT_GE(read, 2) << "a llama and a gemma3_text";
}

// ---- rows of blocks

GgufKeyList small_keys(std::uint32_t dim = 256) {
  GgufKeyList keys;
  keys.add_text("general.architecture", "llama");
  for (const auto& [name, value] : {std::pair<const char*, std::uint32_t>{"block_count", 1},
                                    {"context_length", 32},
                                    {"embedding_length", dim},
                                    {"feed_forward_length", 256},
                                    {"attention.head_count", 4},
                                    {"attention.head_count_kv", 2}})
    keys.add(std::string("llama.") + name, value);
  keys.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return keys;
}

std::vector<Stored> small_tensors(const kernels::BlockType* type) {
  std::uint64_t seed = 0;
  const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    if (!type) return stored(name, testing::fill(static_cast<int>(++seed), {rows, columns}) * 0.05);
    Stored t{name, {rows, columns}, Dtype::f32, {}};
    for (std::size_t i = 0; i < checkpoint::kNumDtypes; ++i)
      if (std::string_view(checkpoint::name(static_cast<Dtype>(i))) == type->name)
        t.dtype = static_cast<Dtype>(i);
    t.bytes.resize(static_cast<std::size_t>(rows * columns / type->elements * type->bytes));
    kernels::fill_blocks(*type, rows * columns / type->elements, t.bytes.data(), ++seed);
    return t;
  };
  std::vector<Stored> tensors = {matrix("token_embd.weight", 50, 256),
                                 stored("output_norm.weight", torch::ones({256})),
                                 stored("blk.0.attn_norm.weight", torch::ones({256})),
                                 stored("blk.0.ffn_norm.weight", torch::ones({256}))};
  for (const auto& [name, rows, columns] :
       {std::tuple<const char*, std::int64_t, std::int64_t>{"attn_q", 256, 256},
        {"attn_k", 128, 256},
        {"attn_v", 128, 256},
        {"attn_output", 256, 256},
        {"ffn_gate", 256, 256},
        {"ffn_up", 256, 256},
        {"ffn_down", 256, 256}})
    tensors.push_back(matrix(std::string("blk.0.") + name + ".weight", rows, columns));
  return tensors;
}

class Unpacker final : public ParameterVisitor {
 public:
  int packed = 0;
  void matrix(const Parameter&, WeightPtr& weight) override {
    if (packed_parts(*weight) == nullptr) return;
    ++packed;
    weight = make_dense_weight(weight->to_dense());
  }
  void tensor(const Parameter&, Tensor&) override {}
};

Tensor logits_of(const Model& model, bool int8 = false) {
  const torch::NoGradGuard no_grad;
  Pass pass = testing::test_pass();
  pass.int8_activations = int8;
  ForwardState state(pass);
  return model.logits(model.hidden((torch::arange(18) * 7).remainder(50).view({1, 18}), state),
                      pass);
}

TEST(GgufModel, OfEveryTypeOfBlocksMultipliesWhereItLiesAsItsNumbersDo) {
  for (const kernels::BlockType& type : kernels::block_types()) {
    if (type.elements == 1) continue;
    SCOPED_TRACE(type.name);
    const test::TemporaryFolder folder;
    const fs::path path = folder.path() / "m.gguf";
    write(path, small_keys(), small_tensors(&type));
    const auto model = load_model(path, serial()), dense = load_model(path, serial());
    Unpacker unpacker;
    dense->visit(unpacker);
    EXPECT_EQ(unpacker.packed, 8) << "the tied output is the embedding";
    testing::expect_close(logits_of(*model), logits_of(*dense), 1e-4);
    EXPECT_NO_THROW(check_int8_activations(*model));
    const Tensor int8 = logits_of(*model, true);
    EXPECT_FALSE(int8.equal(logits_of(*model)));
    EXPECT_LT((int8 - logits_of(*dense)).norm().item<double>(),
              0.05 * logits_of(*dense).norm().item<double>());
    // The loss, whose output layer stays packed, too.
    const torch::NoGradGuard no_grad;
    const Pass pass = testing::test_pass();
    const auto losses = [&](const Model& m) {
      ForwardState state(pass);
      const Tensor ids = (torch::arange(18) * 7).remainder(50).view({1, 18});
      return m.token_losses(m.hidden(ids, state), (ids + 1).remainder(50), pass);
    };
    testing::expect_close(losses(*model), losses(*dense), 1e-4);
  }
}

std::string refusal_of(const std::vector<Stored>& tensors, const GgufKeyList& keys) {
  const test::TemporaryFolder folder;
  write(folder.path() / "m.gguf", keys, tensors);
  try {
    load_model(folder.path() / "m.gguf", serial());
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(GgufModel, WithTensorsThatDoNotFitIsRefusedByTheirNames) {
  EXPECT_EQ(refusal_of(small_tensors(nullptr), small_keys()), "accepted");
  std::vector<Stored> more = small_tensors(nullptr);
  more.push_back(stored("blk.0.attn_q.scale", torch::ones({1})));
  EXPECT_TRUE(test::contains(refusal_of(more, small_keys()), "blk.0.attn_q.scale"));
  std::vector<Stored> fewer = small_tensors(nullptr);
  fewer.pop_back();
  EXPECT_TRUE(test::contains(refusal_of(fewer, small_keys()), "blk.0.ffn_down.weight"));
  std::vector<Stored> other = small_tensors(nullptr);
  other.back() = stored("blk.0.ffn_down.weight", torch::ones({256, 128}));
  EXPECT_TRUE(test::contains(refusal_of(other, small_keys()), "[256, 128]"));
  const std::vector<Stored> blocks =
      small_tensors(kernels::find_block_type(std::string_view("Q4_0")));
  EXPECT_TRUE(test::contains(refusal_of(blocks, small_keys(128)), "token_embd.weight"));
}

}  // namespace
}  // namespace mote::model
