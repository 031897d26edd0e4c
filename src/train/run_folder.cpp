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
#include "text/batches.h"
#include "train/tokens.h"

namespace mote::train {
namespace {

constexpr const char* kStep = "step-";
constexpr const char* kLock = ".run.lock";
constexpr const char* kCheckpoints = "checkpoints";

// N of "step-N"; -1 for another name.
std::int64_t step_of(const std::string& name) {
  std::int64_t step = -1;
  if (!name.starts_with(kStep)) return -1;
  const char *begin = name.data() + std::string(kStep).size(), *end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && step >= 0 ? step : -1;
}

// Steps done by a checkpoint; by none, 0.
std::int64_t step_of(const std::optional<fs::path>& checkpoint) {
  return checkpoint ? step_of(checkpoint->filename().string()) : 0;
}

// What tells a run's own files and their temporaries from others.
bool is_ours(const std::string& name) {
  const bool model = name.starts_with("model") && name.find(".safetensors") != std::string::npos;
  constexpr std::array kNames{"recipe.toml", "metrics.jsonl", "data", "checkpoints",
                              "config.json", "latest",        "best", "generation_config.json",
                              "report.html"};
  const auto is_among = [&](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return model || step_of(name) >= 0 || is_among(kNames) || is_among(text::kTokenizerFiles);
}

// Whether a folder holds prepared tokens and nothing else.
bool only_tokens(const fs::path& folder) {
  constexpr auto& kNames = text::kPreparedFiles;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) return false;
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

std::set<std::int64_t> steps_in(const fs::path& checkpoints) {
  std::set<std::int64_t> steps;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints, ignored))
    if (const std::int64_t step = step_of(entry.path().filename().string()); step >= 0)
      steps.insert(step);
  return steps;
}

bool has_steps(const fs::path& checkpoints) {
  return !steps_in(checkpoints).empty() || fs::exists(checkpoints / "latest");
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

}  // namespace

RunFolder::RunFolder(const Recipe& recipe, const fs::path& folder, bool resume, int threads)
    : recipe_(recipe), folder_(if_link_followed(folder)) {
  // A lock outlives its process only where that was killed.
  const bool killed = fs::exists(folder_ / kLock);
  const Holds holds = look(folder_, resume, killed);
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
    if (look(folder_, resume, killed) != holds) refuse(folder_, "was changed meanwhile; try again");
    if (holds == Holds::run)
      go_on();
    else
      begin();
    if (wants_tokens) make_tokens(recipe_, train.get(), this->data(), threads);
  } catch (...) {
    drop_start();
    throw;
  }
}

RunFolder::~RunFolder() {
  drop_start();
}

// What the folder holds, by reading alone. Throws for what no run may be put into.
RunFolder::Holds RunFolder::look(const fs::path& folder, bool resume, bool killed) {
  const fs::path checkpoints = folder / kCheckpoints;
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return Holds::nothing;
  if (!fs::is_directory(folder, ignored)) refuse(folder, "is no folder; choose another output");
  bool empty = true, start = true;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    empty = empty && name == kLock;
    start = start && is_of_a_start(entry.path());
  }
  if (empty) return Holds::nothing;
  if (start && killed && !has_steps(checkpoints)) return Holds::start;
  if (!resume)
    refuse(folder,
           concat("is not empty; choose a new folder",
                  fs::exists(folder / "recipe.toml") ? ", or go on with its run: --resume" : ""));
  const std::string use = concat("; --from ", folder.string(), " with another --out trains on");
  if (!fs::exists(folder / "recipe.toml"))
    refuse(folder, concat("holds files but no recipe.toml: it is no training run",
                          fs::exists(folder / "config.json") ? use : ""));
  if (fs::exists(folder / "training_state.safetensors"))
    throw Error(ErrorKind::unsupported,
                concat(folder.string(),
                       ": is a run of mote's first version; end it with the "
                       "program that began it, or train anew"))
        .in(folder.string());
  if (!fs::exists(checkpoints / "latest")) {
    if (has_steps(checkpoints) && !killed)
      refuse(folder,
             "has checkpoints but no checkpoints/latest; write step-N, the one to go on "
             "from, into it");
    if (holds_model(folder) && !has_steps(checkpoints))
      refuse(folder,
             "is a finished model without its training_state: there is nothing to go on "
             "from" +
                 use);
  } else if (const auto checkpoint = latest_in(checkpoints);
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

// The recipe of the run in a folder. Throws where `now` does not go on with it.
Recipe RunFolder::recipe_in(const fs::path& folder, Recipe now) {
  const fs::path path = folder / "recipe.toml";
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
  const std::int64_t done = step_of(latest_in(folder / kCheckpoints));
  if (done > now.training.steps)
    throw Error(ErrorKind::config,
                concat(folder.string(), ": ", done, " steps are done, training.steps is ",
                       now.training.steps, "; ask for at least as many"))
        .in(folder.string())
        .at("training.steps");
  return then;
}

void RunFolder::go_on() {
  // Killed between its first checkpoint, which is whole, and naming it.
  if (const auto steps = steps_in(checkpoints()); !steps.empty() && !latest())
    write_file(checkpoints() / "latest", kStep + std::to_string(*steps.rbegin()) + "\n");
  const Recipe then = recipe_in(folder_, recipe_);
  recipe_.training.from = then.training.from;
  same_valid_text_ =
      recipe_.data.valid == then.data.valid && recipe_.data.valid_bytes == then.data.valid_bytes;
  best_in(checkpoints());  // if it cannot be read, now rather than after an hour
  remove_temporaries();
  create_folder(checkpoints());
}

std::int64_t RunFolder::steps_done(const Recipe& recipe, const fs::path& folder) {
  if (look(folder, true, fs::exists(folder / kLock)) != Holds::run) return 0;
  recipe_in(folder, recipe);
  return step_of(latest_in(folder / kCheckpoints));
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
  for (const char* name : text::kPreparedFiles) fs::remove(data() / name, ignored);
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

std::optional<fs::path> RunFolder::latest_in(const fs::path& checkpoints) {
  const fs::path file = checkpoints / "latest";
  if (!fs::exists(file)) return std::nullopt;
  std::string name = read_file(file);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  const fs::path found = checkpoints / name;
  if (step_of(name) < 0 || !fs::is_directory(found))
    throw Error(ErrorKind::file, concat(file.string(), ": names '", name,
                                        "', which is no checkpoint of this run; "
                                        "write the name of one that is there"))
        .in(file.string());
  return found;
}

std::optional<fs::path> RunFolder::latest() const {
  return latest_in(checkpoints());
}

std::int64_t RunFolder::latest_step() const {
  return step_of(latest());
}

fs::path RunFolder::checkpoint(std::int64_t steps_done) const {
  return checkpoints() / (kStep + std::to_string(steps_done));
}

std::optional<RunFolder::Best> RunFolder::best_in(const fs::path& checkpoints) {
  const fs::path file = checkpoints / "best";
  if (!fs::exists(file)) return std::nullopt;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::file, concat(file.string(), ": ", what,
                                        "; remove it, and the next evaluation marks the best anew"))
        .in(file.string());
  };
  const Json json = Json::parse(read_file(file, kMostSettingsBytes), nullptr, false);
  if (!json.is_object()) refuse("is not a JSON object");
  const auto step = json.find("step"), loss = json.find("valid_loss");
  if (step == json.end() || !step->is_number_integer() || loss == json.end() || !loss->is_number())
    refuse("has no whole number 'step' and number 'valid_loss'");
  return Best{step->get<std::int64_t>(), loss->get<double>()};
}

std::optional<RunFolder::Best> RunFolder::best() const {
  return best_in(checkpoints());
}

void RunFolder::save(std::int64_t steps_done,
                     const std::function<void(const fs::path& folder)>& fill) {
  const std::string name = kStep + std::to_string(steps_done);
  const fs::path target = checkpoint(steps_done);
  fs::remove_all(target);  // of a run that was killed before `latest` named it
  StagedFolder staged(target);
  fill(staged.path());
  try {
    if (started_) write_file(folder_ / "recipe.toml", to_toml(to_json(recipe_)));
    staged.commit();
    write_file(checkpoints() / "latest", name + "\n");
  } catch (...) {
    std::error_code ignored;
    for (const fs::path& path : {folder_ / "recipe.toml", target})
      if (started_) fs::remove_all(path, ignored);  // a checkpoint or nothing
    throw;
  }
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
  const std::set<std::int64_t> steps = steps_in(checkpoints());
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
