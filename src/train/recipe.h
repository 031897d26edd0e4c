// A training run, complete: data, model and training. TOML on disk; flags only override its fields.
#pragma once

#include <functional>

#include "checkpoint/families/mote.h"
#include "checkpoint/model_config.h"
#include "text/pairs.h"

namespace mote::train {

enum class OptimizerKind { adam, adamw };

// How the tables of lookup layers are trained, of which a step reads and updates some rows.
enum class UntouchedRows { move, stay };
enum class BiasStep { global, row };
enum class SecondMoment { element, row };
enum class StoredType { f32, bf16 };

struct TablesConfig {
  UntouchedRows untouched = UntouchedRows::move;
  BiasStep bias_step = BiasStep::global;
  SecondMoment second_moment = SecondMoment::element;
  StoredType values = StoredType::f32, moments = StoredType::f32;
  double learning_rate = 0;

  static auto fields() {
    using C = TablesConfig;
    return std::tuple{
        Field{&C::untouched, "untouched",
              "rows without a gradient: move (as dense Adam moves them) or stay (SparseAdam)"},
        Field{&C::bias_step, "bias_step",
              "the t of rows that stay: global (of the run) or row (updates of the row)"},
        Field{&C::second_moment, "second_moment", "for each element, or one for a row"},
        Field{&C::values, "values", "type of the tables: f32, or bf16 (rounded at random)"},
        Field{&C::moments, "moments", "type of their moments: f32, or bf16 (rounded at random)"},
        Field{&C::learning_rate, "learning_rate",
              "their peak learning rate; 0: that of everything else", 0.0, 1e38}};
  }
};

struct DataConfig {
  std::string train, valid;
  std::string tokenizer = "bpe";
  std::int64_t vocab_size = 4096;
  std::int64_t valid_bytes = 300000;
  std::string text_key = "text";
  bool binary = false;
  text::Task task = text::Task::text;
  std::string target_key = "target";
  text::SpanConfig spans;

  text::TextFormat format() const {
    return {text_key, binary, task == text::Task::pairs ? target_key : ""};
  }

  static auto fields() {
    using C = DataConfig;
    return std::tuple{
        Field{&C::train, "train",
              "corpus to train on: NAME[:SPLIT], FILE[:SPLIT], a folder of text or of tokens"},
        Field{&C::valid, "valid", "corpus to evaluate on; empty: none"},
        Field{&C::tokenizer, "tokenizer",
              "bytes, bpe or unigram (learned from train), or a folder with a tokenizer"},
        Field{&C::vocab_size, "vocab_size", "tokens of a bpe tokenizer", 257.0, 1e6},
        Field{&C::valid_bytes, "valid_bytes", "evaluate on the first bytes of valid; 0: all", 0.0},
        Field{&C::text_key, "text_key", "key of the text in JSON lines; of pairs, of the source"},
        Field{&C::binary, "binary", "take files that are no text byte by byte"},
        Field{&C::task, "task",
              "text (go on with it), or of encoder-decoders span_corruption (fill gaps) or pairs "
              "(JSON lines with a source and a target)"},
        Field{&C::target_key, "target_key", "of pairs: key of the target in JSON lines"},
        Field{&C::spans, "spans", "of span_corruption"}};
  }
};

struct TrainingConfig {
  std::int64_t steps = 1000;
  std::int64_t streams = 8;
  std::int64_t accumulate = 1;
  OptimizerKind optimizer = OptimizerKind::adam;
  double learning_rate = 2.5e-4;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  std::int64_t warmup = 0;
  std::int64_t schedule_steps = 0;
  double clip_norm = 0.25;
  bool bf16 = false;
  std::int64_t eval_every = 0, save_every = 200, log_every = 10;
  std::int64_t keep_checkpoints = 1;
  std::int64_t seed = 1;
  std::string from;
  TablesConfig tables;

  // Sequences that pass through the model at once.
  std::int64_t streams_at_once() const { return streams / accumulate; }
  // Steps after the warm-up's end over which the cosine falls.
  std::int64_t horizon() const { return schedule_steps ? schedule_steps : steps; }
  std::int64_t steps_between_evaluations() const {
    return eval_every ? eval_every : (steps + 9) / 10;
  }

  // 1e-37 to 1e38 is what float32 holds: other numbers become 0 or infinite in use.
  static auto fields() {
    using C = TrainingConfig;
    return std::tuple{
        Field{&C::steps, "steps", "optimiser steps", 1.0},
        Field{&C::streams, "streams", "sequences trained side by side (batch)", 1.0},
        Field{&C::accumulate, "accumulate",
              "parts of a batch that are passed one after the other before an update", 1.0},
        Field{&C::optimizer, "optimizer",
              "adam (weight decay in the gradient) or adamw (decoupled)"},
        Field{&C::learning_rate, "learning_rate", "peak learning rate", 0.0, 1e38},
        Field{&C::beta1, "beta1", "decay of the mean of gradients, below 1", 0.0, 1.0},
        Field{&C::beta2, "beta2", "decay of the mean of squared gradients, below 1", 0.0, 1.0},
        Field{&C::epsilon, "epsilon", "added to the root of the latter", 1e-37, 1e38},
        Field{&C::weight_decay, "weight_decay", "weight decay", 0.0, 1e38},
        Field{&C::warmup, "warmup", "steps of linear warm-up", 0.0},
        Field{&C::schedule_steps, "schedule_steps", "horizon of the cosine; 0: steps", 0.0},
        Field{&C::clip_norm, "clip_norm", "largest norm of all gradients together; 0: any", 0.0},
        Field{&C::bf16, "bf16", "multiply in bfloat16 (sums, weights and the rest stay float32)"},
        Field{&C::eval_every, "eval_every", "steps between evaluations; 0: ten in a run", 0.0},
        Field{&C::save_every, "save_every", "steps between checkpoints", 1.0},
        Field{&C::keep_checkpoints, "keep_checkpoints",
              "newest checkpoints that are kept, beside the best by validation", 1.0, 1e6},
        Field{&C::log_every, "log_every", "steps between lines of metrics.jsonl", 1.0},
        Field{&C::seed, "seed", "of everything random", 0.0},
        Field{&C::from, "from",
              "model whose weights and tokenizer the run starts from; empty: none"},
        Field{&C::tables, "tables", "tables of rows (lookup layers)"}};
  }
};

struct Recipe {
  DataConfig data;
  checkpoint::ModelConfig model;
  TrainingConfig training;

  std::int64_t version = checkpoint::kMoteVersion;

  static auto fields() {
    using C = Recipe;
    return std::tuple{Field{&C::version, "version", "of the recipe's keys", 1.0,
                            static_cast<double>(checkpoint::kMoteVersion)},
                      Field{&C::data, "data", "text"}, Field{&C::model, "model", "the model"},
                      Field{&C::training, "training", "optimisation"}};
  }
};

// Reads a recipe and applies `overrides` (key=value), both spelled as its version has it: 1 where
// it says none (checkpoint/families/mote.h). Files and folders that are there get absolute names, so
// that the recipe means the same wherever it is read. The vocabulary size of the model is filled in
// later, from the tokenizer.
Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides);
Recipe recipe_from(Json table, const std::string& file);
// What a recipe with overrides was refused for is blamed on the one that names the field, or, where
// the recipe alone is sound (`without` reads it and does not throw), on all of them: the command line is
// wrong, the recipe's file is not.
[[noreturn]] void blame_overrides(const Error& error, const std::string& path,
                                  const std::vector<std::string>& overrides,
                                  const std::function<void()>& without);
// Of a task that is not text: sources of model.encoder.context tokens, targets of model.context.
text::PairOptions pair_options(const Recipe& recipe);
// Checks what does not need the tokenizer; `file` is for messages.
void validate(const Recipe& recipe, const std::string& file);

// The first field (dotted) in which a run would compute something else; empty: none. How often it
// saves, tells and evaluates, and on what, may differ, and the number of steps where the learning
// rate does not follow from it.
std::string changed_computation(const Recipe& now, const Recipe& then);
// The first field in which two models would compute something else from the same weights; empty:
// none. How many tokens, how long a context and what is dropped in training may differ.
std::string changed_model(const checkpoint::ModelConfig& now, const checkpoint::ModelConfig& then);

}  // namespace mote::train

template <>
struct mote::EnumNames<mote::train::UntouchedRows> {
  static constexpr std::array names{"move", "stay"};
};
template <>
struct mote::EnumNames<mote::train::BiasStep> {
  static constexpr std::array names{"global", "row"};
};
template <>
struct mote::EnumNames<mote::train::SecondMoment> {
  static constexpr std::array names{"element", "row"};
};
template <>
struct mote::EnumNames<mote::train::StoredType> {
  static constexpr std::array names{"f32", "bf16"};
};
template <>
struct mote::EnumNames<mote::train::OptimizerKind> {
  static constexpr std::array names{"adam", "adamw"};
};
