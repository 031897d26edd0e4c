#include "compare/compare.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <sstream>

#include "base/file.h"
#include "base/file_lock.h"
#include "base/log.h"
#include "base/toml.h"
#include "compare/analysis.h"
#include "compare/results.h"
#include "report/comparison.h"
#include "report/resources.h"
#include "text/batches.h"
#include "text/corpus.h"
#include "train/tokens.h"
#include "train/trainer.h"

namespace mote::compare {
namespace {

constexpr const char *kRecipe = "recipe.toml", *kResults = "results.jsonl",
                     *kResources = "resources.jsonl", *kLock = ".compare.lock";

// A name that every file system takes.
std::string folder_name(std::size_t number, const std::string& name) {
  char digits[8];
  std::snprintf(digits, sizeof digits, "%02zu", number);
  std::string text = digits;
  text += '-';
  for (const char c : name.substr(0, 40))
    text += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return text;
}

class Runner {
 public:
  Runner(const Comparison& comparison, const fs::path& folder, Json machine,
         const kernels::Run& run)
      : comparison_(comparison),
        folder_(folder),
        machine_(std::move(machine)),
        run_(run),
        hash_(comparison.hash()),
        results_(folder, comparison) {}

  std::vector<Json> go() {
    write_file(folder_ / kRecipe, to_toml(described()));
    // Seed by seed, so that what is there at any time compares.
    for (std::int64_t i = 0; i < comparison_.seeds; ++i)
      for (std::size_t m = 0; m < comparison_.models.size(); ++m) one(m, i);
    return report();
  }

 private:
  Json described() const {
    Json json = {{"title", comparison_.title}, {"hash", hash_}};
    json.update(comparison_.identity());
    return json;
  }

  fs::path data() const { return folder_ / "data"; }

  void prepare_data() {
    const train::Recipe& recipe = comparison_.models.front().recipe;
    if (text::is_prepared(data())) return;
    std::unique_ptr<text::Corpus> corpus;
    if (!text::is_prepared(recipe.data.train))
      corpus = text::open_corpus(recipe.data.train, 0, recipe.data.format());
    train::make_tokens(recipe, corpus.get(), data(), run_.executor->threads());
  }

  void one(std::size_t number, std::int64_t index) {
    const Model& model = comparison_.models[number];
    const std::int64_t seed = model.recipe.training.seed + index;
    if (results_.find(model.name, seed)) return;
    prepare_data();
    log::info(concat("model '", model.name, "', seed ", seed, ": ", model.recipe.training.steps,
                     " steps"));
    train::Recipe recipe = model.recipe;
    recipe.training.seed = seed;
    const fs::path folder =
        folder_ / "runs" / folder_name(number, model.name) / concat("seed-", seed);
    train::Recipe prepared = recipe;
    prepared.data.train = fs::absolute(data()).lexically_normal().string();
    prepared.data.vocab_size = text::TokenFile(data()).info().vocab_size;
    const train::TrainResult result = train::train(prepared, folder, true, run_);
    Json row = {{"recipe", hash_}, {"name", model.name}, {"seed", seed}};
    row.update(numbers(model, result, folder));
    row.update(analyse(folder, recipe, run_));
    row["machine"] = machine_;
    results_.add(std::move(row));
    report();
  }

  // Of a run and what its metrics.jsonl tells.
  static Json numbers(const Model& model, const train::TrainResult& result,
                      const fs::path& folder) {
    Json row = {{"parameters", result.parameters.total},
                {"active_parameters", result.parameters.active},
                {"feed_forward", result.parameters.feed_forward},
                {"feed_forward_active", result.parameters.feed_forward_active},
                {"active_flops", model.work.forward_flops()},
                {"feed_forward_flops", 2 * model.work.forward.feed_forward},
                {"training_flops", model.run_flops()},
                {"steps", result.steps},
                {"tokens", result.tokens}};
    Json curve = Json::array();
    double last_rate = 0, seconds = 0;
    std::istringstream lines(read_file(folder / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line, nullptr, false);
      if (!json.is_object()) continue;
      if (json.contains("mean_loss")) row["train_loss"] = json["mean_loss"];
      if (json.contains("tokens_per_second")) last_rate = json["tokens_per_second"];
      if (json.contains("seconds")) seconds = json["seconds"];
      if (!json.contains("valid_loss")) continue;
      const double step = json["step"];
      curve.push_back({{"step", json["step"]},
                       {"tokens", step * static_cast<double>(model.tokens_per_step())},
                       {"training_flops", step * model.step_flops()},
                       {"seconds", seconds},
                       {"valid_loss", json["valid_loss"]}});
    }
    row["valid_loss"] = *result.valid_loss;
    row["valid_bits_per_byte"] = *result.valid_bits_per_byte;
    row["tokens_per_second"] = last_rate;
    row["seconds"] = seconds;
    row["curve"] = curve;
    return row;
  }

  std::vector<Json> report() const {
    const std::vector<Json> rows = results_.rows(comparison_);
    report::Comparison page;
    page.title = comparison_.title;
    page.matched = enum_name(comparison_.match);
    page.baseline = comparison_.baseline;
    page.seeds = comparison_.seeds;
    page.machine = machine_;
    for (const Model& model : comparison_.models) page.models.push_back(model.name);
    page.rows = rows;
    if (fs::exists(folder_ / kResources))
      page.resources =
          report::resource_rows(read_file(folder_ / kResources), (folder_ / kResources).string());
    write_file(folder_ / "report.html", report::comparison_page(page));
    write_file(folder_ / "table.md", report::comparison_table(page));
    return rows;
  }

  const Comparison& comparison_;
  const fs::path folder_;
  const Json machine_;
  const kernels::Run run_;
  const std::string hash_;
  Results results_;
};

void check_folder(const fs::path& folder, bool resume) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::system, concat(folder.string(), " ", what)).in(folder.string());
  };
  if (!fs::is_directory(folder)) refuse("is no folder; choose another output");
  if (fs::is_empty(folder)) return;
  const bool ours = fs::exists(folder / kResults) || fs::exists(folder / "runs");
  if (!resume)
    refuse(concat("is not empty; choose a new folder",
                  ours ? ", or go on with its comparison: --resume" : ""));
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!ours && name != kLock && name != kRecipe && name != kResources && name != "data" &&
        !name.starts_with('.'))
      refuse(concat("holds '", name,
                    "' and no results.jsonl: it is no comparison; choose another "
                    "output"));
  }
}

// Where the folder's recipe says what it compares, the first field that differs is named.
void check_recipe(const Comparison& comparison, const fs::path& folder) {
  const fs::path path = folder / kRecipe;
  if (!fs::exists(path)) return;
  const Json then = read_toml(path.string()).flatten(), now = comparison.identity().flatten();
  for (const Json* list : {&now, &then})
    for (const auto& [key, unused] : list->items()) {
      if (key == "/title" || key == "/hash") continue;
      const auto value = [&](const Json& in) {
        return in.contains(key) ? quoted(in[key]) : "absent";
      };
      if (now.contains(key) && then.contains(key) && now[key] == then[key]) continue;
      std::string field = key.substr(1);
      std::replace(field.begin(), field.end(), '/', '.');
      throw Error(ErrorKind::config,
                  concat(path.string(), ": '", field, "' is ", value(then),
                         " and the recipe given has ", value(now),
                         ": the folder holds another comparison; choose another --out, or give the "
                         "recipe that it was made with"))
          .in(path.string())
          .at(field);
    }
}

// What runs that are missing will read: a text that is not there leaves no folder behind.
void check_texts(const Comparison& comparison, const Results& results, const fs::path& folder) {
  const auto wanted = static_cast<std::size_t>(comparison.seeds) * comparison.models.size();
  if (results.rows(comparison).size() == wanted) return;
  const train::DataConfig& data = comparison.models.front().recipe.data;
  text::open_corpus(data.valid, static_cast<std::uint64_t>(data.valid_bytes), data.format());
  if (!text::is_prepared(data.train) && !text::is_prepared(folder / "data"))
    text::open_corpus(data.train, 0, data.format());
}

bool is_ours(const std::string& name) {
  constexpr std::array kNames{kRecipe, kResults, kResources, "data", "report.html", "table.md"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

}  // namespace

std::vector<Json> run_comparison(const Comparison& comparison, const fs::path& folder, bool resume,
                                 const std::optional<std::string>& resources, const Json& machine,
                                 const kernels::Run& run) {
  check_folder(folder, resume);
  check_recipe(comparison, folder);
  check_texts(comparison, Results(folder, comparison), folder);
  create_folder(folder);
  const FileLock lock(folder / kLock, folder);
  remove_leftovers(folder, is_ours);
  if (resources) write_file(folder / kResources, *resources);
  try {
    return Runner(comparison, folder, machine, run).go();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::interrupted) throw;
    throw Error(ErrorKind::interrupted, concat("interrupted; what is done is in ", folder.string(),
                                               "; go on with the same command and --resume"));
  }
}

}  // namespace mote::compare
