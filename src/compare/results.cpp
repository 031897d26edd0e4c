#include "compare/results.h"

#include <algorithm>
#include <sstream>

#include "base/file.h"
#include "base/json_text.h"

namespace mote::compare {
namespace {

bool is_numbers(const Json& list) {
  return list.is_array() &&
         std::all_of(list.begin(), list.end(), [](const Json& each) { return each.is_number(); });
}

bool is_list_of(const Json& list, bool (*good)(const Json&)) {
  return list.is_array() && std::all_of(list.begin(), list.end(), good);
}

// What the page reads of a layer.
void check_layer(const Json& layer, const Place& place) {
  const auto check = [&](const char* key, const auto& good, const char* wanted) {
    if (layer.contains(key) && !good(layer[key]))
      throw_wrong_type(place.inside(key), wanted, layer[key]);
  };
  if (!layer.is_object()) throw_wrong_type(place, "a table", layer);
  check("weight_shares", is_numbers, "a list of numbers");
  check(
      "together", [](const Json& rows) { return is_list_of(rows, is_numbers); },
      "lists of numbers");
  const auto is_curve = [](const Json& sorted) {
    return sorted.is_object() && is_numbers(sorted.value("rank", Json())) &&
           is_numbers(sorted.value("share", Json())) &&
           sorted["rank"].size() == sorted["share"].size();
  };
  check("sorted", is_curve, "two lists, rank and share, of as many numbers");
  if (layer.contains("weight_shares") && !layer.contains("sorted"))
    throw_config_error(place.inside("sorted"), "is missing");
}

// What the page and the table read of every row.
void check_row(const Json& row, const std::string& file, std::size_t line) {
  const Place place{file, concat("line ", line)};
  if (!row.is_object()) throw_wrong_type(place, "a JSON object", row);
  const auto check = [&](const char* key, bool good, const char* wanted) {
    if (!good) throw_wrong_type(place.inside(key), wanted, row.contains(key) ? row[key] : Json());
  };
  for (const char* key : {"recipe", "name"})
    check(key, row.contains(key) && row[key].is_string(), "text");
  for (const char* key :
       {"seed", "parameters", "feed_forward", "feed_forward_active", "steps", "tokens"})
    check(key, row.contains(key) && row[key].is_number_integer(), "a whole number");
  for (const char* key : {"active_flops", "training_flops", "valid_loss", "valid_bits_per_byte",
                          "tokens_per_second", "seconds"})
    check(key, row.contains(key) && row[key].is_number(), "a number");
  for (const char* key : {"curve", "layers", "corrupted"})
    check(key,
          row.contains(key) && is_list_of(row[key], [](const Json& x) { return x.is_object(); }),
          "a list of tables");
  for (std::size_t i = 0; i < row["layers"].size(); ++i)
    check_layer(row["layers"][i], place.inside(concat("layers.", i)));
  check("machine", row.contains("machine") && row["machine"].is_object(), "a table");
}

}  // namespace

Results::Results(const std::filesystem::path& folder, const Comparison& comparison)
    : path_(folder / "results.jsonl") {
  if (!fs::exists(path_)) return;
  const std::string hash = comparison.hash(), text = read_file(path_);
  std::istringstream lines(text);
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const Json row = Json::parse(line, nullptr, false);
    if (row.is_discarded()) {
      if (lines.peek() == EOF && !text.ends_with('\n')) break;
      throw Error(ErrorKind::file, concat(path_.string(), ": line ", number,
                                          " is no JSON; remove the line, and its run is made anew"))
          .in(path_.string());
    }
    check_row(row, path_.string(), number);
    if (row["recipe"] != hash)
      throw Error(ErrorKind::config,
                  concat(path_.string(), ": line ", number, " is of the recipe ",
                         row["recipe"].get<std::string>(), ", the one given is ", hash,
                         ": the folder holds another comparison; choose another --out, or give the "
                         "recipe that it was made with"))
          .in(path_.string())
          .at("recipe");
    rows_.push_back(row);
  }
}

const Json* Results::find(const std::string& name, std::int64_t seed) const {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&](const Json& row) {
    return row["name"] == name && row["seed"] == seed;
  });
  return found == rows_.end() ? nullptr : &*found;
}

void Results::add(Json row) {
  rows_.push_back(std::move(row));
  std::string text;
  for (const Json& each : rows_) text += json_text(each) + "\n";
  write_file(path_, text);
}

std::vector<Json> Results::rows(const Comparison& comparison) const {
  std::vector<Json> list;
  for (const Model& model : comparison.models)
    for (std::int64_t i = 0; i < comparison.seeds; ++i)
      if (const Json* row = find(model.name, model.recipe.training.seed + i)) list.push_back(*row);
  return list;
}

}  // namespace mote::compare
