#include "model/convert/text_files.h"

#include <algorithm>

#include "base/file.h"
#include "base/json_text.h"
#include "checkpoint/gguf_tokenizer.h"
#include "model/model_source.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer_model.h"

namespace mote::model {
namespace {

constexpr const char* kTokenizerKeys = "tokenizer.";
constexpr const char* kModelKey = "tokenizer.ggml.model";
constexpr const char* kNoTokenizer = "none";

// What a folder may have beside its tensors and config.json, but for what the run that made it left.
constexpr const char* kFiles[] = {"generation_config.json",
                                  "tokenizer.json",
                                  "tokenizer_config.json",
                                  "tokenizer.model",
                                  "spiece.model",
                                  "special_tokens_map.json",
                                  "added_tokens.json",
                                  "chat_template.jinja",
                                  "chat_template.json",
                                  "vocab.json",
                                  "merges.txt"};

void copy_files(const fs::path& from, const fs::path& to) {
  for (const char* name : kFiles)
    if (fs::exists(from / name)) write_file(to / name, read_file(from / name));
}

bool has_tokenizer(const checkpoint::GgufFile& file) {
  return file.keys().has(kModelKey) && file.keys().text(kModelKey) != kNoTokenizer;
}

bool has_tokenizer(const fs::path& folder) {
  const auto& names = text::tokenizer_files();
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return fs::exists(folder / name); });
}

Json tokenizer_config(const text::Tokenizer& tokenizer) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  const auto add = [&](const char* key, std::optional<text::TokenId> id) {
    if (id) json[key] = tokenizer.name(*id);
  };
  const text::TokenRoles& roles = tokenizer.roles();
  add("bos_token", roles.begin);
  add("eos_token", roles.end);
  add("pad_token", roles.padding);
  add("unk_token", roles.unknown);
  return json;
}

void add_ids(const text::TokenRoles& roles, Json& config) {
  const auto add = [&](const char* key, std::optional<text::TokenId> id) {
    if (id) config[key] = *id;
  };
  add("bos_token_id", roles.begin);
  add("eos_token_id", roles.end);
  add("pad_token_id", roles.padding);
}

void add_vocabulary(const text::GgufVocabulary& v, checkpoint::GgufKeyList& keys) {
  const auto full = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  const auto views = [](const std::vector<std::string>& texts) {
    return std::vector<std::string_view>(texts.begin(), texts.end());
  };
  keys.add_text(kModelKey, v.model);
  if (!v.pre.empty()) keys.add_text(full("pre"), v.pre);
  keys.add_texts(full("tokens"), views(v.tokens));
  if (!v.scores.empty()) keys.add_array(full("scores"), v.scores);
  keys.add_array(full("token_type"), v.types);
  if (v.model == "gpt2") keys.add_texts(full("merges"), views(v.merges));
  const auto add_id = [&](const char* name, std::optional<text::TokenId> id) {
    if (id) keys.add(full(name), static_cast<std::uint32_t>(*id));
  };
  add_id("bos_token_id", v.roles.begin);
  add_id("eos_token_id", v.roles.end);
  add_id("padding_token_id", v.roles.padding);
  add_id("unknown_token_id", v.roles.unknown);
  const auto add_flag = [&](const char* name, std::optional<bool> flag) {
    if (flag) keys.add(full(name), *flag);
  };
  add_flag("add_bos_token", v.add_begin);
  add_flag("add_eos_token", v.add_end);
  add_flag("add_space_prefix", v.space_prefix);
}

}  // namespace

void write_text_files(const fs::path& model, const checkpoint::ModelConfig& config,
                      const fs::path& folder, Json& config_json) {
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  const checkpoint::GgufFile* gguf = gguf_in(model, tensors);
  if (!gguf) return copy_files(model, folder);
  if (!has_tokenizer(*gguf)) return;
  const auto tokenizer = load_tokenizer(model, config);
  save_tokenizer(*tokenizer, load_text_bounds(model, *tokenizer), folder);
  add_ids(tokenizer->roles(), config_json);
  write_file(folder / "tokenizer_config.json", json_text(tokenizer_config(*tokenizer), 2) + "\n");
  if (const auto chat = load_chat_template(model))
    write_file(folder / text::kChatTemplateFile, chat->source());
}

void add_text_keys(const fs::path& model, const checkpoint::ModelConfig& config,
                   checkpoint::GgufKeyList& keys) {
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  if (const checkpoint::GgufFile* gguf = gguf_in(model, tensors)) {
    for (const auto& [key, value] : gguf->keys().all())
      if (key.starts_with(kTokenizerKeys)) keys.add(key, value);
    return;
  }
  if (!has_tokenizer(model)) return keys.add_text(kModelKey, kNoTokenizer);
  const auto tokenizer = load_tokenizer(model, config);
  text::GgufVocabulary vocabulary =
      text::gguf_vocabulary(*tokenizer, text::tokenizer_file(model).string());
  text::pad_vocabulary(vocabulary, config.vocab_size);
  add_vocabulary(vocabulary, keys);
  // Of the ends of a text beside the tokenizer's own two have keys.
  const TextBounds bounds = load_text_bounds(model, *tokenizer);
  std::size_t next = 0;
  for (const text::TokenId id : bounds.ends)
    if (vocabulary.roles.end != id && next < std::size(checkpoint::kGgufMoreEnds))
      keys.add(checkpoint::kGgufMoreEnds[next++], static_cast<std::uint32_t>(id));
  if (const auto chat = load_chat_template(model))
    keys.add_text(checkpoint::kGgufTemplate, chat->source());
}

}  // namespace mote::model
