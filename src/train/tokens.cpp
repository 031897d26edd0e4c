#include "train/tokens.h"

#include "base/file.h"
#include "base/log.h"
#include "model/saved.h"
#include "text/batches.h"
#include "text/bpe.h"

namespace mote::train {
namespace {

bool is_learned(const DataConfig& data) {
  return text::is_learned_tokenizer(data.tokenizer);
}

// The folder or file of an existing tokenizer that the recipe asks for; empty: it asks for none.
fs::path wanted_tokenizer(const Recipe& recipe) {
  const std::string& name = recipe.data.tokenizer;
  if (!is_learned(recipe.data) && name != "bytes") return name;
  return recipe.training.from.empty() ? fs::path() : model::find_model(recipe.training.from);
}

void check_prepared(const Recipe& recipe, int tokens) {
  const DataConfig& data = recipe.data;
  const fs::path ours = text::tokenizer_file(data.train);
  fs::path wanted = wanted_tokenizer(recipe);
  std::string differ;
  if (!wanted.empty() && fs::is_directory(wanted)) wanted = text::tokenizer_file(wanted);
  if (!wanted.empty() && read_file(ours) != read_file(wanted))
    differ = concat(ours.string(), " and ", wanted.string());
  else if (wanted.empty() && !is_learned(data) && tokens != 257)
    differ = concat(data.train, " of ", tokens, " tokens and tokenizer = \"bytes\" of 257");
  if (!differ.empty())
    throw Error(ErrorKind::config, concat("data.train: ", differ,
                                          " differ; prepare the text with the tokenizer wanted"))
        .in(data.train)
        .at("data.tokenizer");
}

// What is set, to another value than the default, and read by nobody.
void warn_of_unused(const DataConfig& data, bool prepared, bool learned, std::int64_t tokens) {
  const DataConfig none;
  if (!learned && data.vocab_size != none.vocab_size && data.vocab_size != tokens)
    log::warn(concat("data.vocab_size = ", data.vocab_size, " is not used: the tokenizer of ",
                     prepared ? data.train : data.tokenizer, " has ", tokens, " tokens"));
  const auto warn_of_task = [&](const char* key) {
    log::warn(concat(key, " is not used: data.task is ", enum_name(data.task)));
  };
  if (data.task != text::Task::span_corruption && to_json(data.spans) != to_json(none.spans))
    warn_of_task("data.spans");
  if (data.task != text::Task::pairs && data.target_key != none.target_key)
    warn_of_task("data.target_key");
  if (!prepared || (!data.valid.empty() && !text::is_prepared(data.valid))) return;
  const auto warn = [&](const char* key) {
    log::warn(concat(key, " is not used: ", data.train, " is a prepared folder"));
  };
  if (data.text_key != none.text_key) warn("data.text_key");
  if (data.binary) warn("data.binary");
}

}  // namespace

std::int64_t vocab_size_of(const Recipe& recipe, const fs::path& made) {
  if (text::is_prepared(made)) return text::TokenFile(made).info().vocab_size;
  const DataConfig& data = recipe.data;
  const bool prepared = text::is_prepared(data.train);
  const bool of_model =
      !recipe.training.from.empty() && (is_learned(data) || data.tokenizer == "bytes");
  const bool learned = !prepared && !of_model && is_learned(data);
  std::int64_t tokens = data.vocab_size;
  if (prepared) {
    const auto tokenizer = text::TokenFile(data.train).tokenizer();
    check_prepared(recipe, tokenizer->vocab_size());
    tokens = tokenizer->vocab_size();
  } else if (of_model) {
    tokens = model::load_config(model::find_model(recipe.training.from)).model.vocab_size;
  } else if (!learned) {
    tokens = text::tokenizer_named(data.tokenizer)->vocab_size();
  }
  warn_of_unused(data, prepared, learned, tokens);
  return tokens;
}

checkpoint::ModelConfig model_of(const Recipe& recipe, std::int64_t vocab_size) {
  checkpoint::ModelConfig config = recipe.model;
  config.vocab_size = vocab_size;
  return config;
}

void make_tokens(const Recipe& recipe, const text::Corpus* corpus, const fs::path& folder,
                 int threads) {
  const DataConfig& data = recipe.data;
  StagedFolder out(folder);
  if (!corpus) {
    const text::TokenFile tokens(data.train);
    const auto tokenizer = tokens.tokenizer();
    check_prepared(recipe, tokenizer->vocab_size());
    tokens.decode(*tokenizer, 0, [](std::string_view, bool) {});
    log::info(concat("tokens and tokenizer of ", data.train, ", a vocabulary of ",
                     tokenizer->vocab_size(), "; data.tokenizer and data.vocab_size are not used"));
    return text::link_prepared(data.train, out);
  }
  log::info(
      concat("tokenising ", data.train, ", ", format_bytes(static_cast<double>(corpus->bytes()))));
  const fs::path wanted = wanted_tokenizer(recipe);
  const auto tokenizer = text::tokenizer_named(wanted.empty() ? data.tokenizer : wanted.string(),
                                               *corpus, static_cast<int>(data.vocab_size), threads);
  text::prepare(*corpus, *tokenizer, data.train, out, threads);
}

}  // namespace mote::train
