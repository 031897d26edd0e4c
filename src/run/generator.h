// Continues a text, token by token.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/buffers.h"
#include "model/model.h"
#include "model/text_bounds.h"
#include "run/sampler.h"
#include "text/tokenizer.h"

namespace mote::run {

struct GenerateOptions {
  std::int64_t new_tokens = 128;
  std::int64_t memory_tokens = -1;  // as the model's config says
  // Prompt tokens at a time; any number gives the same. 0: few, for little memory, where every token meets
  // every weight, and many where experts share them out.
  std::int64_t prompt_step = 0;
  std::vector<std::string> stop;  // ends before any of these texts
  bool ignore_ends = false;       // tokens that end a text are never drawn
  std::int64_t beams = 1;         // above 1: beam search (run/beam_search.h), nothing is drawn
  double length_penalty = 1;      // of beam search
  std::int64_t at_once = 8;       // texts that grow side by side
  SamplerConfig sampler;
};

struct Generated {
  std::string text;  // without the prompt
  std::vector<text::TokenId> ids;
  std::int64_t prompt_tokens = 0, prompt_read = 0;  // read: not yet read for the text before
  std::string stop_reason;  // "length", "end_of_text", "stop", or "context": no position is left
  double prompt_seconds = 0, new_seconds = 0;
};

// What prompt_step is for a model.
std::int64_t prompt_step(const GenerateOptions& options, const checkpoint::ModelConfig& config);

// A model that reads and continues texts, each as far as it can from what it has read.
class Session {
 public:
  // Model and tokenizer outlive it. Throws for a model whose tokens depend on later ones.
  Session(const model::Model& model, const text::Tokenizer& tokenizer, model::TextBounds bounds,
          const GenerateOptions& options, const model::Pass& pass);
  ~Session();

  // `ids`: the whole text so far, what it begins with included; of a text that goes on from the one
  // before only what is new is read. Throws when it is empty, longer than the model has positions, or
  // where logits are not finite. The tokenizer has at most the model's ids, and only its own are
  // drawn. `emit` gets the text as it comes, valid UTF-8 in every piece; what may still become a stop
  // text is held back.
  Generated go_on(std::vector<text::TokenId> ids, std::function<void(const std::string&)> emit);

  // Of encoder-decoders: what the texts to come are the targets of, its end included. They begin anew.
  void read_source(std::span<const text::TokenId> ids);

  // go_on in steps, without beams, so that texts go on side by side: begin() reads `ids` and draws a
  // token; as long as open() says so, step() reads the tokens drawn last, of all sessions (of one model)
  // in one pass, and draws the next ones; then finish().
  void begin(std::vector<text::TokenId> ids, std::function<void(const std::string&)> emit);
  bool open() const;
  static void step(std::span<Session* const> open);
  Generated finish();

 private:
  struct Growing;
  Tensor hidden_of(std::span<const text::TokenId> ids);
  void warn_beyond_context(std::size_t tokens);
  // The last hidden state after `ids`.
  Tensor read(std::span<const text::TokenId> ids);
  // The last hidden state of the text that begins to grow.
  Tensor read_prompt(std::vector<text::TokenId> ids, std::function<void(const std::string&)> emit);
  void draw(std::span<const float> logits);
  void search(const Tensor& hidden);
  text::StreamDecoder decoder(std::size_t history) const;

  const model::Model& model_;
  const text::Tokenizer& tokenizer_;
  const model::TextBounds bounds_;
  const GenerateOptions options_;
  const std::int64_t prompt_step_;
  model::Pass pass_;
  model::Buffers buffers_;
  const std::int64_t positions_;
  model::Cache cache_;
  std::vector<text::TokenId> read_;  // what the cache holds
  std::int64_t source_tokens_ = 0;
  double source_seconds_ = 0;
  bool warned_ = false;
  Sampler sampler_;
  std::unique_ptr<Growing> growing_;
};

// One text for each prompt; of an encoder-decoder the target whose source is the prompt, in which special
// tokens are recognised by their names, as in what it gives. Up to options.at_once texts grow side by
// side, which changes none of them but for rounding; where a model's experts depend on how many tokens
// come at a time, and with beams, one. `emit` and `done` get the texts one after another, in the order of
// the prompts.
void generate(const model::Model& model, const text::Tokenizer& tokenizer,
              const model::TextBounds& bounds, std::span<const std::string> prompts,
              const GenerateOptions& options, const model::Pass& pass,
              const std::function<void(const std::string&)>& emit,
              const std::function<void(const Generated&)>& done);

}  // namespace mote::run
