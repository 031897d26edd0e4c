// A verb of the program: its options, and what it does.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>
#include <optional>
#include <string>

#include "base/fields.h"
#include "model/pass.h"
#include "text/corpus.h"

namespace mote::cli {

// What every verb is given.
struct Context {
  bool json = false;
  int threads = 1;
  std::optional<std::uint64_t> seed;
  kernels::Run run;

  model::Pass pass() const {
    model::Pass p;
    p.run = run;
    return p;
  }
};

// A number from `least` to `most` as people write it: CLI11 itself would read 010 as 8, wrap -1 and
// clamp what is too large. NaN lies in no range.
template <class Number>
CLI::Validator from_to(Number least, Number most) {
  constexpr bool kWhole = std::is_integral_v<Number>;
  const std::string range = concat(least, " to ", most);
  const auto check = [=](const std::string& text) -> std::string {
    Number value{};
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    const bool read =
        error == std::errc() && stop == end && (!kWhole || std::to_string(value) == text);
    if (read && value >= least && value <= most) return "";
    return concat(quoted(Json(text)), " is no ", kWhole ? "whole " : "", "number from ", range);
  };
  return {check, range, "FROM_TO"};
}

// A text of at least one character.
inline CLI::Validator not_empty() {
  return {[](const std::string& text) { return text.empty() ? "is empty; give a value" : ""; }, "",
          "NOT_EMPTY"};
}

// Refuses an option that was given where `by`, what was chosen, does not use it and `other` would.
inline void refuse_unused(const CLI::Option* option, const std::string& by,
                          const std::string& other) {
  if (option->count() == 0) return;
  throw Error(ErrorKind::usage, concat(option->get_name(), ": ", by,
                                       " does not use it; leave it out, or choose ", other))
      .at(option->get_name());
}

// More than any count of tokens or bytes.
constexpr std::int64_t kMostNumber = std::int64_t{1} << 40;

// -c, --ctx-size of the verbs that run a model.
inline void add_context_size(CLI::App& app, std::int64_t& tokens) {
  app.add_option("-c,--ctx-size", tokens, "tokens that the end of a block sees; 0: the model's")
      ->check(from_to(std::int64_t{0}, kMostNumber));
}

// --activations f32|int8 of the verbs that run a model.
class ActivationsOption {
 public:
  void add(CLI::App& app) {
    app.add_option("--activations", name_,
                   "f32, or int8: what packed weights multiply (less exact)")
        ->check(CLI::IsMember({"f32", "int8"}));
  }
  bool int8() const { return name_ == "int8"; }

 private:
  std::string name_ = "f32";
};

// --text-key, --target-key and --binary of the verbs that read text.
class TextFormatOptions {
 public:
  void add(CLI::App& app) {
    options_ = {
        app.add_option("--text-key", format_.json_key, "key of the text in JSON lines")
            ->check(not_empty()),
        app.add_option("--target-key", format_.target_key,
                       "key of the target in JSON lines that are pairs for an encoder-decoder, "
                       "their sources under --text-key (default: no pairs)")
            ->check(not_empty()),
        app.add_flag("--binary", format_.binary, "take files that are no text byte by byte")};
  }
  const text::TextFormat& format() const { return format_; }
  const std::vector<const CLI::Option*>& options() const { return options_; }

 private:
  text::TextFormat format_;
  std::vector<const CLI::Option*> options_;
};

// Does `work`, whose output appears whole or not at all; an interrupt says which.
template <class Work>
auto whole_or_nothing(const std::string& out, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::interrupted) throw;
    throw Error(ErrorKind::interrupted,
                concat("interrupted; nothing was written to ", out, ", give the command again"));
  }
}

// From now on an interrupt ends the process at once, saying so: for work that leaves nothing behind
// and has nowhere to look whether someone asked it to stop.
void end_on_interrupt(bool json);

class Verb {
 public:
  virtual ~Verb() = default;
  virtual void add_options(CLI::App& app) = 0;
  // Does the work and returns the facts that --json prints. Without --json they are printed one per
  // line, unless the verb prints for people itself and returns null.
  virtual Json run(const Context& context) = 0;
};

struct Command {
  const char* name;
  const char* help;
  std::unique_ptr<Verb> (*make)();
  const char* default_seed = " (default: 1)";
};

std::unique_ptr<Verb> make_prepare();
std::unique_ptr<Verb> make_train();
std::unique_ptr<Verb> make_compare();
std::unique_ptr<Verb> make_eval();
std::unique_ptr<Verb> make_generate();
std::unique_ptr<Verb> make_chat();
std::unique_ptr<Verb> make_compress();
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_convert();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_doctor();

}  // namespace mote::cli
