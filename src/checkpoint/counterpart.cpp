#include "checkpoint/counterpart.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "checkpoint/families/gguf_decoder.h"
#include "checkpoint/families/gguf_model_keys.h"
#include "checkpoint/families/hf_model_json.h"
#include "checkpoint/gguf_plan.h"
#include "checkpoint/refuse.h"
#include "checkpoint/same_model.h"

namespace mote::checkpoint {
namespace {

struct Counterpart {
  const char* model_type;
  const char* architecture;
};
// Of several of a kind the first that says the same is taken.
constexpr Counterpart kCounterparts[] = {
    {"llama", "llama"},           {"mistral", "llama"},         {"mixtral", "llama"},
    {"qwen2", "qwen2"},           {"qwen3", "qwen3"},           {"gemma3_text", "gemma3"},
    {"olmoe", "olmoe"},           {"qwen2_moe", "qwen2moe"},    {"qwen3_moe", "qwen3moe"},
    {"deepseek_v2", "deepseek2"}, {"deepseek_v3", "deepseek2"}, {"gpt_oss", "gpt-oss"}};

std::vector<std::string> architectures_of(const std::string& family) {
  std::vector<std::string> found;
  for (const auto& [type, architecture] : kCounterparts)
    if ((family == "mote" || family == type || family == architecture) &&
        std::find(found.begin(), found.end(), architecture) == found.end())
      found.emplace_back(architecture);
  return found;
}

// Gemma's embeddings are multiplied by a number that Hugging Face's form rounds to the type of the weights
// and GGUF's does not; what is written is a model of the format's own.
void take_embedding_scale(const ModelConfig& from, ModelConfig& to) {
  constexpr double kRounding = 1.0 / 256;  // of bfloat16
  if (from.embedding_scale == to.embedding_scale ||
      std::abs(from.embedding_scale / to.embedding_scale - 1) > kRounding)
    return;
  log::warn(concat("embeddings are multiplied by ", from.embedding_scale, " in the model and by ",
                   to.embedding_scale, " in the format that is written"));
  to.embedding_scale = from.embedding_scale;
}

// What `as_read` lacks of `config`, in a few words; empty: nothing.
std::string missing(const ModelConfig& config, ModelConfig as_read) {
  take_embedding_scale(config, as_read);
  return difference(config, as_read);
}

// Tries each candidate until one says the same.
template <class Form, class Make>
Form first_that_fits(const std::vector<std::string>& candidates, const ModelConfig& config,
                     const std::string& file, const std::string& format, const Make& make) {
  std::string reasons;
  for (const std::string& candidate : candidates) {
    std::string reason;
    try {
      auto [form, as_read] = make(candidate);
      reason = missing(config, as_read);
      if (reason.empty()) return std::move(form);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::interrupted) throw;
      reason = error.what();
      if (const std::string prefix = file + ": "; reason.starts_with(prefix))
        reason.erase(0, prefix.size());
    }
    reasons += concat(reasons.empty() ? "" : "; ", "as ", candidate, ": ", reason);
  }
  refuse_file(file, "",
              concat(format,
                     " has no way to say what this model computes (the model's value, then "
                     "the format's): ",
                     reasons.empty() ? "no architecture is of its family" : reasons,
                     "; keep it as safetensors"),
              ErrorKind::unsupported);
}

}  // namespace

std::string gguf_name(const std::string& parameter) {
  return stored_by(gguf_names(), parameter, [](const std::string&) { return true; }).name;
}

GgufForm gguf_form(const std::string& family, const ModelConfig& config,
                   std::span<const TensorSpec> specs, const fs::path& file) {
  if (!config.attention.get_if<Rotary>() && !config.attention.get_if<Latent>())
    refuse_file(file.string(), "attention.kind",
                concat("attention.kind is ", config.attention.kind(),
                       "; the architectures of GGUF that are written have rotary or latent "
                       "attention; keep it as safetensors"),
                ErrorKind::unsupported);
  return first_that_fits<GgufForm>(
      architectures_of(family), config, file.string(), "GGUF",
      [&](const std::string& architecture) {
        GgufForm form{gguf_model_keys(architecture, config), gguf_rotary_divisors(config), {}};
        GgufPlan plan(file, form.keys, specs);
        if (!form.rotary_divisors.empty()) plan.add(kGgufRotaryDivisors, form.rotary_divisors);
        form.model = read_gguf_model(plan);
        ModelConfig as_read = form.model.config;
        return std::pair{std::move(form), std::move(as_read)};
      });
}

HfForm hf_form(const std::string& architecture, const ModelConfig& config, const std::string& dtype,
               const fs::path& file) {
  std::vector<std::string> types;
  for (const Counterpart& each : kCounterparts)
    if (architecture == each.architecture && std::string_view("mistral") != each.model_type)
      types.emplace_back(each.model_type);
  return first_that_fits<HfForm>(
      types, config, file.string(), "Hugging Face's config.json", [&](const std::string& type) {
        HfForm form{hf_model_json(type, config, dtype), {}};
        form.model = find_family(form.json)->read({form.json, file.string(), nullptr});
        ModelConfig as_read = form.model.config;
        return std::pair{std::move(form), std::move(as_read)};
      });
}

}  // namespace mote::checkpoint
