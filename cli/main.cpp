// The program: `mote <verb>`. The only place that catches errors and decides the exit status.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <limits>

#include "base/check.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/process.h"
#include "cli/command.h"
#include "cli/commit.h"
#include "model/ops/bridge.h"
#include "model/torch.h"

namespace mote::cli {
namespace {

constexpr const char* kNoSeed = " (default: none; nothing here is random)";

constexpr Command kCommands[] = {
    {"prepare", "turn text into tokens", make_prepare, kNoSeed},
    {"train", "fit a model to a corpus", make_train, " (default: the recipe's)"},
    {"compare", "train several models alike and report", make_compare, " (default: the recipe's)"},
    {"eval", "score a model on a corpus", make_eval, kNoSeed},
    {"generate", "continue a text", make_generate, " (default: a fresh one, which is printed)"},
    {"chat", "talk with a model", make_chat, " (default: a fresh one)"},
    {"compress", "shrink a checkpoint", make_compress},
    {"convert", "write a model in another format", make_convert, kNoSeed},
    {"inspect", "list a checkpoint's tensors, experts and bits", make_inspect, kNoSeed},
    {"bench", "measure this machine and mote on it", make_bench, kNoSeed},
    {"doctor", "say what this machine has and what is missing", make_doctor, kNoSeed},
};

constexpr int kFailed = 1, kMisused = 2, kInterrupted = 130;

struct CommonOptions {
  bool json = false, quiet = false, verbose = false;
  int threads = physical_cores();
  std::string isa;
  std::optional<std::uint64_t> seed;
};

// `seed`: where it comes from without the option.
void add_common(CLI::App& app, CommonOptions& options, const char* seed) {
  app.add_flag("--json", options.json, "print one JSON object on stdout");
  app.add_option("-t,--threads", options.threads, "threads (default: physical cores)")
      ->check(from_to(1, 1024));
  app.add_option("--isa", options.isa,
                 "use at most reference, avx2, avx2_vnni, avx512 or amx (default: the best here)")
      ->check(not_empty());
  app.add_option("-s,--seed", options.seed, std::string("seed of everything random") + seed)
      ->check(from_to(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max()));
  auto* quiet = app.add_flag("--quiet", options.quiet, "no progress, no notes");
  app.add_flag("--verbose", options.verbose, "more notes")->excludes(quiet);
}

std::string version_text() {
  std::string text = concat("mote ", MOTE_VERSION, " (", commit(), "), " MOTE_COMPILER " ",
                            __VERSION__, ", instruction sets:");
  for (const kernels::Isa isa : kernels::compiled_isas()) text += concat(" ", kernels::name(isa));
  return text;
}

void print_value(const std::string& key, const Json& value) {
  if (value.is_object()) {
    for (const auto& [inner, each] : value.items()) print_value(key + "." + inner, each);
  } else if (value.is_array() && !value.empty() && value[0].is_object()) {
    std::cout << key << ":\n";
    for (const Json& each : value) std::cout << "  " << json_text(each) << "\n";
  } else {
    std::cout << key << ": " << (value.is_string() ? value.get<std::string>() : json_text(value))
              << "\n";
  }
}

// A word that no option or verb takes, with the nearest one that exists; CLI11 would name a missing
// option first.
std::string unknown_word(const CLI::App& app) {
  const CLI::App* verb = &app;
  for (const CLI::App* sub : app.get_subcommands()) verb = sub;
  const std::vector<std::string> words = verb->remaining(true);
  if (words.empty()) return "";
  const std::string word = words[0].substr(0, words[0].find('='));
  std::vector<std::string> known;
  if (verb == &app)
    for (const Command& command : kCommands) known.push_back(command.name);
  for (const CLI::Option* option : verb->get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    for (const std::string& name : option->get_snames()) known.push_back("-" + name);
  }
  const char* what = word.starts_with('-') ? "' is not an option"
                     : verb == &app        ? "' is not a verb"
                                           : "' is one argument too many";
  return "'" + word + what + (verb == &app ? "" : " of " + verb->get_name()) +
         did_you_mean(word, known);
}

// The words as CLI11 takes them, the last one first. `--name=` becomes two of them, the second one
// empty: CLI11 would take the next word for the value.
std::vector<std::string> words_of(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> words;
  const std::string called = argc > 1 ? argv[1] : "";
  const auto verbs =
      app.get_subcommands([&](const CLI::App* sub) { return sub->get_name() == called; });
  bool options = !verbs.empty();
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    options = options && word != "--";
    const std::string name = word.substr(0, word.find('='));
    const bool empty_value = options && word.starts_with("--") && word == name + "=";
    const CLI::Option* option = empty_value ? verbs[0]->get_option_no_throw(name) : nullptr;
    if (option && option->get_items_expected_max() > 0) {
      words.push_back(name);
      word.clear();
    }
    words.push_back(word);
  }
  std::reverse(words.begin(), words.end());
  return words;
}

// What CLI11 found wrong.
std::string misuse(const CLI::App& app, const CLI::ParseError& error) {
  const std::string text = unknown_word(app);
  return text.empty() ? error.what() : text;
}

// What is wrong with the command line may come before its --json was read.
bool wants_json(int argc, char** argv) {
  return std::find(argv, argv + argc, std::string("--json")) != argv + argc;
}

int report(const Error& error, bool json) {
  std::string message = error.what();
  for (char& c : message)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  if (json) {
    Json facts = {{"kind", name(error.kind())}, {"message", message}};
    if (!error.file().empty()) facts["file"] = error.file();
    if (!error.field().empty()) facts["field"] = error.field();
    std::cout << json_text(Json{{"error", facts}}) << std::endl;
  }
  std::fprintf(stderr, "mote: %s\n", message.c_str());
  if (error.kind() == ErrorKind::interrupted) return kInterrupted;
  return error.kind() == ErrorKind::usage ? kMisused : kFailed;
}

bool json_on_failure = false;

// From a signal handler: no function that may have been interrupted.
void tell(int descriptor, std::string_view text) {
  if (write(descriptor, text.data(), text.size()) < 0) _exit(kInterrupted);
}
void end_interrupted() {
  tell(STDERR_FILENO, "mote: interrupted\n");
  _exit(kInterrupted);
}
void end_interrupted_with_json() {
  tell(STDOUT_FILENO, R"({"error":{"kind":"interrupted","message":"interrupted"}})"
                      "\n");
  end_interrupted();
}

// A signal handler, but of a read in our own code (base/file.h): it may print.
[[noreturn]] void end_of_lost_file(const char* path) {
  report(Error(ErrorKind::file, concat(path,
                                       ": became shorter while it was read, or its disk "
                                       "failed; restore it and run again"))
             .in(path),
         json_on_failure);
  std::_Exit(kFailed);
}

Context make_context(const CommonOptions& options, const Executor& executor) {
  log::set_level(options.quiet     ? log::Level::quiet
                 : options.verbose ? log::Level::verbose
                                   : log::Level::normal);
  Context context;
  context.json = options.json;
  context.threads = options.threads;
  context.seed = options.seed;
  context.run.executor = &executor;
  if (!options.isa.empty()) context.run.ceiling = kernels::ceiling_named(options.isa);
  return context;
}

int main_checked(int argc, char** argv) {
  json_on_failure = wants_json(argc, argv);
  CLI::App app("trains, compresses and runs language models with sparse feed-forward layers",
               "mote");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  CommonOptions options;
  std::vector<std::unique_ptr<Verb>> verbs;
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    add_common(*sub, options, command.default_seed);
    verbs.push_back(command.make());
    verbs.back()->add_options(*sub);
  }
  try {
    app.parse(words_of(app, argc, argv));
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return report(Error(ErrorKind::usage, misuse(app, error) + " (see mote --help)"),
                  json_on_failure);
  }
  try {
    const auto pool = model::ops::make_thread_pool(options.threads);
    const Context context = make_context(options, *pool);
    const std::uint64_t startup_rss = rss_bytes();  // nearly all of it is LibTorch's
    for (std::size_t i = 0; i < verbs.size(); ++i) {
      if (!app.got_subcommand(kCommands[i].name)) continue;
      Json facts = verbs[i]->run(context);
      if (facts.contains("peak_rss_bytes")) facts["startup_rss_bytes"] = startup_rss;
      if (const auto warning = facts.find("warning"); warning != facts.end()) {
        Json last = std::move(*warning);  // where it is not overlooked
        facts.erase("warning");
        facts["warning"] = std::move(last);
      }
      if (options.json && !facts.is_null())
        std::cout << json_text(facts) << std::endl;
      else if (facts.is_object())
        for (const auto& [key, value] : facts.items()) print_value(key, value);
    }
    return 0;
  } catch (const Error& error) {
    return report(error, options.json);
  } catch (const std::bad_alloc&) {
    return report(
        Error(ErrorKind::system,
              "out of memory; choose a smaller model, fewer streams or a shorter context"),
        options.json);
  } catch (const c10::Error& error) {
    return report(Error(ErrorKind::system, concat("LibTorch: ", error.what_without_backtrace())),
                  options.json);
  } catch (const std::filesystem::filesystem_error& error) {
    const std::string path = error.path1().string();
    return report(
        Error(ErrorKind::system, concat("cannot use ", path, ": ", error.code().message()))
            .in(path),
        options.json);
  } catch (const std::exception& error) {
    return report(Error(ErrorKind::system, error.what()), options.json);
  }
}

// What could not be written was not done.
int check_stdout(int status) {
  std::cout.flush();
  if (std::cout.good() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "mote: cannot write to standard output; is the disk full?\n");
  return status == 0 ? kFailed : status;
}

}  // namespace

void end_on_interrupt(bool json) {
  on_interrupt(json ? end_interrupted_with_json : end_interrupted);
  stop_if_interrupted();
}

int run_program(int argc, char** argv) {
  fill_standard_streams();
  catch_interrupts();
  on_lost_file(end_of_lost_file);
  return check_stdout(main_checked(argc, argv));
}

}  // namespace mote::cli

int main(int argc, char** argv) {
  return mote::cli::run_program(argc, argv);
}
