#include "checkpoint/family.h"

#include "checkpoint/families/architectures.h"
#include "checkpoint/families/decoders.h"
#include "checkpoint/families/encoder_decoders.h"
#include "checkpoint/families/mote.h"

namespace mote::checkpoint {
namespace {

FamilyModel read_own(FamilySource source) {
  return read_mote(std::move(source.config), source.file);
}

constexpr Family kFamilies[] = {{"mote", read_own},
                                {"llama", read_llama},
                                {"mistral", read_mistral},
                                {"qwen2", read_qwen2},
                                {"qwen3", read_qwen3},
                                {"gemma3_text", read_gemma3},
                                {"mixtral", read_mixtral},
                                {"olmoe", read_olmoe},
                                {"phimoe", read_phimoe},
                                {"qwen2_moe", read_qwen2_moe},
                                {"qwen3_moe", read_qwen3_moe},
                                {"deepseek_v2", read_deepseek_v2},
                                {"deepseek_v3", read_deepseek_v3},
                                {"gpt_oss", read_gpt_oss},
                                {"granitemoe", read_granitemoe},
                                {"t5", read_t5},
                                {"switch_transformers", read_switch}};

// By general.architecture of a GGUF file.
struct Architecture {
  const char* name;
  FamilyModel (*read)(const GgufSource& file);
};
constexpr Architecture kArchitectures[] = {
    {"llama", read_gguf_llama},       {"gemma3", read_gguf_gemma3},
    {"qwen2", read_gguf_qwen2},       {"qwen3", read_gguf_qwen3},
    {"olmoe", read_gguf_olmoe},       {"qwen2moe", read_gguf_qwen2moe},
    {"qwen3moe", read_gguf_qwen3moe}, {"deepseek2", read_gguf_deepseek2},
    {"gpt-oss", read_gguf_gpt_oss}};
constexpr const char* kArchitecture = "general.architecture";

const Architecture* find_architecture(const GgufSource& file) {
  const std::string_view name = file.keys().text(kArchitecture);
  for (const Architecture& each : kArchitectures)
    if (name == each.name) return &each;
  return nullptr;
}

}  // namespace

bool is_mxfp4(const Json& quantization_config) {
  return quantization_config.is_object() &&
         quantization_config.value("quant_method", Json()) == "mxfp4";
}

const Family* find_family(const Json& config) {
  const auto type = config.find("model_type");
  for (const Family& family : kFamilies)
    if (type != config.end() && *type == family.model_type) return &family;
  return nullptr;
}

const Family& family_of(const Json& config, const std::string& file) {
  if (const Family* family = find_family(config)) return *family;
  const auto type = config.find("model_type");
  std::string known;
  for (const Family& family : kFamilies)
    known += concat(known.empty() ? "" : ", ", family.model_type);
  throw Error(ErrorKind::unsupported,
              concat(file, ": model_type is ", type == config.end() ? "missing" : quoted(*type),
                     "; models of these are read: ", known))
      .in(file)
      .at("model_type");
}

bool is_gguf_model(const GgufSource& file) {
  return file.keys().has(kArchitecture) && find_architecture(file) != nullptr;
}

FamilyModel read_gguf_model(const GgufSource& file) {
  if (const Architecture* found = find_architecture(file)) return found->read(file);
  std::string known;
  for (const Architecture& each : kArchitectures)
    known += concat(known.empty() ? "" : ", ", each.name);
  throw Error(ErrorKind::unsupported,
              concat(file.path().string(), ": ", kArchitecture, " is '",
                     file.keys().text(kArchitecture), "'; models of these are read: ", known))
      .in(file.path().string())
      .at(kArchitecture);
}

}  // namespace mote::checkpoint
