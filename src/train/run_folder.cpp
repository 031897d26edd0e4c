#include "train/run_folder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/toml.h"
#include "model/saved.h"
#include "text/batches.h"
#include "text/bpe.h"

namespace mote::train {
namespace {

constexpr const char* kStep = "step-";
constexpr const char* kLock = ".run.lock";
constexpr const char* kTokenizer = "tokenizer.json";
constexpr std::array kData{"tokens.bin", "tokens.json", kTokenizer};

// N of "step-N"; -1 for another name.
std::int64_t step_of(const std::string& name) {
  std::int64_t step = -1;
  if (!name.starts_with(kStep)) return -1;
  const char *begin = name.data() + std::string(kStep).size(), *end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && step >= 0 ? step : -1;
}

// What tells a run's own files and their temporaries from others.
bool is_ours(const std::string& name) {
  const bool model = name.starts_with("model") && name.find(".safetensors") != std::string::npos;
  constexpr std::array kNames{"recipe.toml", "metrics.jsonl", "data",
                              "checkpoints", "config.json",   kTokenizer,
                              "latest",      "best",          "generation_config.json"};
  return model || step_of(name) >= 0 ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

// Whether a folder holds prepared tokens and nothing else.
bool only_tokens(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (std::find(kData.begin(), kData.end(), name) == kData.end()) return false;
  }
  return true;
}

// What a start leaves in a folder before its first checkpoint. A recipe is none of it: it is written
// with the first checkpoint, so that one that is found may be the user's own.
bool is_of_a_start(const fs::path& path) {
  constexpr std::array kNames{"metrics.jsonl", "checkpoints", kLock};
  const std::string name = path.filename().string();
  if (name == "data") return only_tokens(path);
  const bool temporary = name.starts_with('.') && name.find(".tmp-") != std::string::npos &&
                         is_ours(name.substr(1, name.rfind(".tmp-") - 1));
  return temporary || name == ".data.lock" ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool holds_model(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "config.json" || (name.starts_with("model") && is_ours(name))) return true;
  }
  return false;
}

bool has_steps(const fs::path& checkpoints) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints, ignored))
    if (step_of(entry.path().filename().string()) >= 0) return true;
  return fs::exists(checkpoints / "latest");
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& what) {
  throw Error(ErrorKind::system, concat(folder.string(), " ", what)).in(folder.string());
}

// Where it leads, if its last part is a link; else the path as it was given: what messages call it.
fs::path if_link_followed(const fs::path& path) {
  fs::path name = path.lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  std::error_code ignored;
  return fs::is_symlink(name, ignored) ? followed(path) : path;
}

std::string value_at(const Recipe& recipe, const std::string& field) {
  const Json json = to_json(recipe);
  const Json* at = &json;
  std::istringstream keys(field);
  for (std::string key; std::getline(keys, key, '.');) {
    if (!at->is_object() || !at->contains(key)) return "absent";
    at = &(*at)[key];
  }
  return at->is_string() ? json_text(*at) : quoted(*at);
}

// Tokens of a prepared folder are taken as they are, if they are of the tokenizer that is wanted.
void use_prepared(const Recipe& recipe, StagedFolder& out) {
  const DataConfig& data = recipe.data;
  const fs::path prepared = data.train;
  fs::path wanted;
  if (!recipe.training.from.empty()) wanted = model::find_model(recipe.training.from);
  if (data.tokenizer != "bpe" && data.tokenizer != "bytes") wanted = data.tokenizer;
  std::string differ;
  if (!wanted.empty() && wanted.filename() != kTokenizer) wanted /= kTokenizer;
  if (!wanted.empty() && read_file(prepared / kTokenizer) != read_file(wanted))
    differ = concat((prepared / kTokenizer).string(), " and ", wanted.string());
  else if (const int tokens = text::load_tokenizer(prepared)->vocab_size();
           wanted.empty() && data.tokenizer == "bytes" && tokens != 257)
    differ = concat(prepared.string(), " of ", tokens, " tokens and tokenizer = \"bytes\" of 257");
  if (!differ.empty())
    throw Error(ErrorKind::config, concat("data.train: ", differ,
                                          " differ; prepare the text with the tokenizer wanted"))
        .in(data.train)
        .at("data.tokenizer");
  log::info(concat("tokens and tokenizer of ", data.train));
  text::link_prepared(prepared, out);
}

// `corpus` is null where the recipe names a prepared folder.
void tokenise(const Recipe& recipe, const text::Corpus* corpus, const fs::path& folder,
              int threads) {
  const DataConfig& data = recipe.data;
  StagedFolder out(folder);
  if (!corpus) return use_prepared(recipe, out);
  log::info(
      concat("tokenising ", data.train, ", ", format_bytes(static_cast<double>(corpus->bytes()))));
  const bool of_model =
      !recipe.training.from.empty() && (data.tokenizer == "bpe" || data.tokenizer == "bytes");
  const auto tokenizer = text::tokenizer_named(
      of_model ? model::find_model(recipe.training.from).string() : data.tokenizer, *corpus,
      static_cast<int>(data.vocab_size), threads);
  text::prepare(*corpus, *tokenizer, data.train, out, threads);
}

}  // namespace

RunFolder::RunFolder(const Recipe& recipe, const fs::path& folder, bool resume, int threads)
    : recipe_(recipe), folder_(if_link_followed(folder)) {
  // A lock outlives its process only where that was killed.
  const bool killed = fs::exists(folder_ / kLock);
  const Holds holds = look(resume, killed);
  const DataConfig& data = recipe_.data;
  std::unique_ptr<text::Corpus> train;
  const bool wants_tokens = holds != Holds::run || !fs::exists(this->data());
  if (wants_tokens && !text::is_prepared(data.train))
    train = text::open_corpus(data.train, 0, data.format());
  if (!data.valid.empty())
    valid_ =
        text::open_corpus(data.valid, static_cast<std::uint64_t>(data.valid_bytes), data.format());
  try {
    lock();
    if (look(resume, killed) != holds) refuse(folder_, "was changed meanwhile; try again");
    if (holds == Holds::run)
      go_on();
    else
      begin();
    if (wants_tokens) tokenise(recipe_, train.get(), this->data(), threads);
  } catch (...) {
    drop_start();
    throw;
  }
}

RunFolder::~RunFolder() {
  drop_start();
}

// What the folder holds, by reading alone. Throws for what no run may be put into.
RunFolder::Holds RunFolder::look(bool resume, bool killed) const {
  std::error_code ignored;
  if (!fs::exists(folder_, ignored)) return Holds::nothing;
  if (!fs::is_directory(folder_, ignored)) refuse(folder_, "is no folder; choose another output");
  bool empty = true, start = true;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    empty = empty && name == kLock;
    start = start && is_of_a_start(entry.path());
  }
  if (empty) return Holds::nothing;
  if (start && killed && !has_steps(checkpoints())) return Holds::start;
  if (!resume)
    refuse(folder_,
           concat("is not empty; choose a new folder",
                  fs::exists(folder_ / "recipe.toml") ? ", or go on with its run: --resume" : ""));
  const std::string use = concat("; --from ", folder_.string(), " with another --out trains on");
  if (!fs::exists(folder_ / "recipe.toml"))
    refuse(folder_, concat("holds files but no recipe.toml: it is no training run",
                           fs::exists(folder_ / "config.json") ? use : ""));
  if (fs::exists(folder_ / "training_state.safetensors"))
    throw Error(ErrorKind::unsupported,
                concat(folder_.string(),
                       ": is a run of mote's first version; end it with the "
                       "program that began it, or train anew"))
        .in(folder_.string());
  if (!fs::exists(checkpoints() / "latest")) {
    if (has_steps(checkpoints()))
      refuse(folder_,
             "has checkpoints but no checkpoints/latest; write step-N, the one to go on "
             "from, into it");
    if (holds_model(folder_))
      refuse(folder_,
             "is a finished model without its training_state: there is nothing to go on "
             "from" +
                 use);
  } else if (const auto checkpoint = latest();
             !fs::exists(*checkpoint / "training_state.safetensors")) {
    refuse(*checkpoint, concat("has no training_state.safetensors to go on from; --from ",
                               checkpoint->string(), " with another --out trains on"));
  }
  return Holds::run;
}

void RunFolder::lock() {
  std::error_code ignored;
  for (fs::path at = folder_; !at.empty() && !fs::exists(at, ignored); at = at.parent_path())
    made_.push_back(at);
  create_folder(folder_);
  lock_ = std::make_unique<FileLock>(folder_ / kLock, folder_);
}

void RunFolder::begin() {
  started_ = true;
  clear_start();
  create_folder(checkpoints());
}

void RunFolder::go_on() {
  const fs::path path = folder_ / "recipe.toml";
  Recipe& now = recipe_;
  const Recipe then = recipe_from(read_toml(path.string()), path.string());
  if (now.training.from.empty()) now.training.from = then.training.from;
  if (const std::string field = changed_computation(now, then); !field.empty())
    throw Error(ErrorKind::config,
                concat(path.string(), ": '", field, "' is ", value_at(then, field),
                       " and the recipe given has ", value_at(now, field), "; ",
                       field == "training.steps"
                           ? "its learning rate falls to the last step (schedule_steps = 0), so "
                             "go on in a new folder with --from"
                           : "resume with the same recipe, or train into a new folder"))
        .in(path.string())
        .at(field);
  same_valid_text_ =
      now.data.valid == then.data.valid && now.data.valid_bytes == then.data.valid_bytes;
  remove_temporaries();
  create_folder(checkpoints());
}

void RunFolder::keep_recipe() {
  if (!same_valid_text_) fs::remove(checkpoints() / "best");
  const fs::path path = folder_ / "recipe.toml";
  if (const std::string text = to_toml(to_json(recipe_)); text != read_file(path))
    write_file(path, text);
}

void RunFolder::remove_temporaries() {
  remove_leftovers(folder_, is_ours);
  remove_leftovers(checkpoints(), is_ours);
}

// Removes a start's files, and their temporaries; folders where nothing else is in them.
void RunFolder::clear_start() {
  std::error_code ignored;
  remove_temporaries();
  for (const char* name : kData) fs::remove(data() / name, ignored);
  for (const fs::path& path : {data(), checkpoints(), folder_ / "metrics.jsonl"})
    fs::remove(path, ignored);
}

void RunFolder::drop_start() {
  if (started_) clear_start();
  started_ = false;
  lock_.reset();
  std::error_code ignored;
  for (const fs::path& folder : made_) fs::remove(folder, ignored);  // where empty
}

std::optional<fs::path> RunFolder::latest() const {
  const fs::path file = checkpoints() / "latest";
  if (!fs::exists(file)) return std::nullopt;
  std::string name = read_file(file);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  const fs::path found = checkpoints() / name;
  if (step_of(name) < 0 || !fs::is_directory(found))
    throw Error(ErrorKind::file, concat(file.string(), ": names '", name,
                                        "', which is no checkpoint of this run; "
                                        "write the name of one that is there"))
        .in(file.string());
  return found;
}

std::int64_t RunFolder::latest_step() const {
  return step_of(latest()->filename().string());
}

fs::path RunFolder::checkpoint(std::int64_t steps_done) const {
  return checkpoints() / (kStep + std::to_string(steps_done));
}

std::optional<RunFolder::Best> RunFolder::best() const {
  const fs::path file = checkpoints() / "best";
  if (!fs::exists(file)) return std::nullopt;
  const Json json = read_json_object(file.string());
  const auto step = json.find("step"), loss = json.find("valid_loss");
  if (step == json.end() || !step->is_number_integer() || loss == json.end() || !loss->is_number())
    return std::nullopt;
  return Best{step->get<std::int64_t>(), loss->get<double>()};
}

void RunFolder::save(std::int64_t steps_done,
                     const std::function<void(const fs::path& folder)>& fill) {
  const std::string name = kStep + std::to_string(steps_done);
  const fs::path target = checkpoint(steps_done);
  if (started_) write_file(folder_ / "recipe.toml", to_toml(to_json(recipe_)));
  fs::remove_all(target);  // of a run that was killed before `latest` named it
  StagedFolder staged(target);
  fill(staged.path());
  staged.commit();
  write_file(checkpoints() / "latest", name + "\n");
  started_ = false;
  link_top_level(target);
  prune();
}

void RunFolder::link_top_level(const fs::path& checkpoint) const {
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const fs::path name = entry.path().filename();
    if (name == "training_state.safetensors") continue;
    link_or_copy_file(entry.path(), folder_ / name);
  }
}

void RunFolder::prune() const {
  std::set<std::int64_t> steps;
  for (const auto& entry : fs::directory_iterator(checkpoints()))
    if (const std::int64_t step = step_of(entry.path().filename().string()); step >= 0)
      steps.insert(step);
  const std::optional<Best> best = this->best();
  const std::int64_t latest = latest_step();
  std::int64_t newer = 0;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (*step > latest) continue;  // a run that goes on from an earlier one comes to them again
    if (newer++ < recipe_.training.keep_checkpoints || (best && best->step == *step)) continue;
    std::error_code ignored;
    fs::remove_all(checkpoint(*step), ignored);
  }
}

void RunFolder::mark_best(std::int64_t steps_done, double valid_loss) {
  write_file(checkpoints() / "best",
             json_text({{"step", steps_done}, {"valid_loss", valid_loss}}) + "\n");
  prune();
}

}  // namespace mote::train
