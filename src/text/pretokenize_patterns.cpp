#include "text/pretokenize_patterns.h"

namespace mote::text {

const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

const char* const kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

// Digits one by one.
const char* const kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

// o200k.
const char* const kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Numbers, then Chinese and Japanese, then the rest.
const std::vector<std::string> kDeepseekV3 = {
    R"(\p{N}{1,3})", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

}  // namespace

const std::vector<NamedPatterns>& named_patterns() {
  static const std::vector<std::string> gpt2 = {kGpt2Pattern},
                                        digits_gpt2 = {"\\p{N}", kGpt2Pattern},
                                        llama3 = {kLlama3Pattern}, qwen2 = {kQwen2Pattern};
  static const std::vector<NamedPatterns> table = {
      {"gpt-2", gpt2},
      {"phi-2", gpt2},
      {"mpt", gpt2},
      {"olmo", gpt2},
      {"smollm", digits_gpt2},
      {"starcoder", digits_gpt2},
      {"refact", digits_gpt2},
      {"codeshell", digits_gpt2},
      {"command-r", digits_gpt2},
      {"llama-bpe", llama3, true, true},
      {"llama-v3", llama3, true, true},
      {"llama3", llama3, true, true},
      {"falcon3", llama3, true, true},
      {"dbrx", llama3},
      {"smaug-bpe", llama3},
      {"qwen2", qwen2},
      {"deepseek-r1-qwen", qwen2},
      {"megrez", qwen2},
      {"stablelm2", qwen2},
      {"deepseek-v3", kDeepseekV3},
      {"gpt-4o", {kGpt4oPattern}, true, false},
      {"tekken", {kTekkenPattern}, true, true},
  };
  return table;
}

}  // namespace mote::text
