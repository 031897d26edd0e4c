#include "train/run_folder.h"

#include <charconv>
#include <set>

#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/toml.h"
#include "text/batches.h"
#include "text/bpe.h"

namespace mote::train {
namespace {

constexpr const char* kStep = "step-";

std::string first_difference(const Json& a, const Json& b, const std::string& path) {
  for (const auto& [key, value] : a.items()) {
    const std::string here = path.empty() ? key : path + "." + key;
    if (!b.contains(key)) return here;
    if (value.is_object()) {
      const std::string inner = first_difference(value, b[key], here);
      if (!inner.empty()) return inner;
    } else if (value != b[key]) {
      return here;
    }
  }
  return "";
}

void tokenise(const DataConfig& data, const text::Corpus& corpus, const fs::path& out,
              int threads) {
  log::info(
      concat("tokenising ", data.train, ", ", format_bytes(static_cast<double>(corpus.bytes()))));
  const auto tokenizer = data.tokenizer == TokenizerKind::bytes
                             ? text::make_byte_tokenizer()
                             : text::train_bpe(corpus, static_cast<int>(data.vocab_size), threads);
  text::prepare(corpus, *tokenizer, data.train, out, threads);
}

// N of "step-N"; -1 for another name.
std::int64_t step_of(const std::string& name) {
  std::int64_t step = -1;
  if (!name.starts_with(kStep)) return -1;
  const char *begin = name.data() + std::string(kStep).size(), *end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && step >= 0 ? step : -1;
}

}  // namespace

RunFolder::RunFolder(const Recipe& recipe, fs::path folder, bool resume, int threads)
    : folder_(std::move(folder)), keep_(recipe.training.keep_checkpoints) {
  if (!resume) check_folder_is_free(folder_);
  std::unique_ptr<text::Corpus> train;
  if (!fs::exists(data())) train = text::open_corpus(recipe.data.train);
  if (!recipe.data.valid.empty())
    valid_ =
        text::open_corpus(recipe.data.valid, static_cast<std::uint64_t>(recipe.data.valid_bytes));
  settle_recipe(recipe);
  if (train) tokenise(recipe.data, *train, data(), threads);
}

// Makes the folder's recipe.toml, or checks that it holds the same run.
void RunFolder::settle_recipe(const Recipe& recipe) {
  const fs::path path = folder_ / "recipe.toml";
  create_folder(folder_);
  if (!fs::exists(path)) {
    if (!fs::is_empty(folder_))
      throw Error(
          ErrorKind::system,
          concat(folder_.string(), " holds files but no recipe.toml: it is no training run"))
          .in(folder_.string());
    write_file(path, to_toml(to_json(recipe)));
    create_folder(checkpoints());
    return;
  }
  const Json now = to_json(recipe),
             then = to_json(recipe_from(read_toml(path.string()), path.string()));
  const std::string field = first_difference(now, then, "");
  if (!field.empty())
    throw Error(ErrorKind::config,
                concat(path.string(), ": '", field,
                       "' differs from the recipe given; resume with the same recipe, or "
                       "train into a new folder"))
        .in(path.string())
        .at(field);
  if (fs::exists(folder_ / "training_state.safetensors"))
    throw Error(ErrorKind::unsupported,
                concat(folder_.string(),
                       ": is a run of mote's first version; end it with the "
                       "program that began it, or train anew"))
        .in(folder_.string());
  remove_leftovers(folder_);
  create_folder(checkpoints());
  remove_leftovers(checkpoints());
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
  const fs::path target = checkpoints() / name;
  // A run that was killed between the rename and `latest` makes the same checkpoint again.
  if (!fs::exists(target)) {
    StagedFolder staged(target);
    fill(staged.path());
    staged.commit();
  }
  write_file(checkpoints() / "latest", name + "\n");
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
  std::int64_t newer = 0;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step, ++newer)
    if (newer >= keep_ && !(best && best->step == *step)) {
      std::error_code ignored;
      fs::remove_all(checkpoints() / (kStep + std::to_string(*step)), ignored);
    }
}

void RunFolder::mark_best(std::int64_t steps_done, double valid_loss) {
  write_file(checkpoints() / "best",
             json_text({{"step", steps_done}, {"valid_loss", valid_loss}}) + "\n");
  prune();
}

}  // namespace mote::train
