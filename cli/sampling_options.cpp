#include "cli/sampling_options.h"

#include <charconv>
#include <limits>
#include <random>

#include "base/log.h"
#include "text/utf8.h"

namespace mote::cli {
namespace {

template <class Number>
bool read_whole(std::string_view text, Number& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size();
}

// "ID=BIAS" or "ID=false".
std::pair<std::int32_t, float> bias_of(const std::string& text, int vocabulary) {
  const std::size_t equals = text.find('=');
  const std::string_view id_text = std::string_view(text).substr(0, equals),
                         bias_text = equals == std::string::npos
                                         ? std::string_view()
                                         : std::string_view(text).substr(equals + 1);
  std::int32_t id = -1;
  float bias = -std::numeric_limits<float>::infinity();
  const bool read =
      read_whole(id_text, id) && (bias_text == "false" || read_whole(bias_text, bias));
  if (!read || (bias_text != "false" && !(std::abs(bias) <= 1e6f)))
    throw Error(ErrorKind::usage, concat("--logit-bias ", text,
                                         ": give ID=BIAS, with a number from "
                                         "-1000000 to 1000000, or ID=false"))
        .at("--logit-bias");
  if (id < 0 || id >= vocabulary)
    throw Error(ErrorKind::usage, concat("--logit-bias ", text, ": there is no token ", id,
                                         ", the model has ", vocabulary))
        .at("--logit-bias");
  return {id, bias};
}

}  // namespace

void check_utf8(const std::string& text, ErrorKind kind, const std::string& place,
                const std::string& file) {
  if (text::valid_utf8_prefix(text) == text.size()) return;
  Error error(kind, place + ": is not valid UTF-8; convert it first");
  throw file.empty() ? error.at(place) : error.in(file);
}

void SamplingOptions::add(CLI::App& app) {
  run::SamplerConfig& sampler = options.sampler;
  app.add_option("-n,--predict", options.new_tokens, "tokens to add")
      ->check(from_to(std::int64_t{0}, kMostNumber));
  of_beams_ = {app.add_option("--temperature,--temp", sampler.temperature,
                              "0: always the most probable token")
                   ->check(from_to(0.0, run::kMostTemperature))};
  of_draws_ = {app.add_option("--top-k", sampler.top_k, "draw from the k most probable; 0: all")
                   ->check(from_to(std::int64_t{0}, run::kMostTopK)),
               app.add_option("--typical-p", sampler.typical_p,
                              "draw from this share, the least unusual first")
                   ->check(from_to(0.0, 1.0)),
               app.add_option("--top-p", sampler.top_p, "draw from the most probable share")
                   ->check(from_to(0.0, 1.0)),
               app.add_option("--min-p", sampler.min_p,
                              "leave out what is less probable than this share of the first")
                   ->check(from_to(0.0, 1.0)),
               app.get_option("--seed")};
  const CLI::Option* const penalties[] = {
      app.add_option("--repeat-penalty", sampler.repeat_penalty, "above 1: repeat less")
          ->check(from_to(1 / run::kMostPenalty, run::kMostPenalty)),
      app.add_option("--presence-penalty", sampler.presence_penalty,
                     "taken off the logits of tokens that were there")
          ->check(from_to(-run::kMostPenalty, run::kMostPenalty)),
      app.add_option("--frequency-penalty", sampler.frequency_penalty,
                     "taken off as often as they were there")
          ->check(from_to(-run::kMostPenalty, run::kMostPenalty)),
      app.add_option("--repeat-last-n", sampler.repeat_last,
                     "the last tokens that penalties look at; -1: all")
          ->check(from_to(std::int64_t{-1}, run::kMostTopK))};
  of_beams_.insert(of_beams_.end(), std::begin(penalties), std::end(penalties));
  of_beams_.insert(of_beams_.end(), of_draws_.begin(), of_draws_.end());
  app.add_option("--logit-bias", biases_, "ID=BIAS, added to a token's logit; ID=false: never it")
      ->allow_extra_args(false)
      ->check(not_empty());
  app.add_option("--beams", options.beams, "above 1: beam search, which draws nothing")
      ->check(from_to(std::int64_t{1}, std::int64_t{1000}));
  length_penalty_ = app.add_option("--length-penalty", options.length_penalty,
                                   "beam search's sums are divided by this power of the length")
                        ->check(from_to(-100.0, 100.0));
  app.add_flag("--ignore-eos", options.ignore_ends, "never draw a token that ends a text");
  app.add_option("--stop", options.stop, "end before this text")
      ->allow_extra_args(false)
      ->check(not_empty());
}

void SamplingOptions::warn_of(const std::vector<const CLI::Option*>& options, const char* why) {
  std::string given;
  for (const CLI::Option* option : options)
    if (option->count() > 0) given += (given.empty() ? "" : ", ") + option->get_name();
  if (!given.empty()) log::warn(concat(why, ": no use is made of ", given));
}

void SamplingOptions::finish(const Context& context, int vocabulary) {
  if (options.beams > 1)
    warn_of(of_beams_, "--beams searches for the most probable text");
  else if (options.sampler.temperature == 0)
    warn_of(of_draws_, "--temperature 0 always takes the most probable token");
  if (options.beams == 1 && length_penalty_->count() > 0)
    warn_of({length_penalty_}, "without --beams nothing is searched for");
  for (const std::string& stop : options.stop)  // what is said is UTF-8 and would never have it
    check_utf8(stop, ErrorKind::usage, "--stop", "");
  for (const std::string& bias : biases_)
    options.sampler.biases.push_back(bias_of(bias, vocabulary));
  options.sampler.seed = context.seed ? *context.seed : std::random_device()();
}

}  // namespace mote::cli
