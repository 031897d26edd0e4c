// A verb of the program: its options, and what it does.
#pragma once

#include <CLI/CLI.hpp>
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

// A number from `least` to `most`; NaN lies in no range.
template <class Number>
CLI::Validator from_to(Number least, Number most) {
  const std::string range = concat(least, " to ", most);
  const auto check = [=](const std::string& text) -> std::string {
    Number value{};
    const bool read =
        (std::is_signed_v<Number> || !text.starts_with('-')) &&  // which CLI11 would wrap
        CLI::detail::lexical_cast(text, value);
    return read && value >= least && value <= most ? "" : concat(text, " is not from ", range);
  };
  return {check, range, "FROM_TO"};
}

// A text of at least one character.
inline CLI::Validator not_empty() {
  return {[](const std::string& text) { return text.empty() ? "is empty; give a name" : ""; }, "",
          "NOT_EMPTY"};
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

// --text-key and --binary of the verbs that read text.
class TextFormatOptions {
 public:
  void add(CLI::App& app) {
    app.add_option("--text-key", format_.json_key, "key of the text in JSON lines")
        ->check(not_empty());
    app.add_flag("--binary", format_.binary, "take files that are no text byte by byte");
  }
  const text::TextFormat& format() const { return format_; }

 private:
  text::TextFormat format_;
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
std::unique_ptr<Verb> make_eval();
std::unique_ptr<Verb> make_generate();
std::unique_ptr<Verb> make_compress();
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_doctor();

}  // namespace mote::cli
