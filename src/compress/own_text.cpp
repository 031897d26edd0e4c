#include "compress/own_text.h"

#include "base/toml.h"

namespace mote::compress {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = "recipe.toml";

// The field `key` of the recipe's [data], which may lack it.
template <class T>
void read(const Json& data, const char* key, const fs::path& recipe, T& value) {
  if (const auto found = data.find(key); found != data.end())
    from_json(*found, value, Place{recipe.string(), concat("data.", key)});
}

}  // namespace

std::optional<OwnText> own_text(const fs::path& model_folder) {
  const fs::path folder = fs::canonical(model_folder);
  for (const fs::path& run : {folder, folder.parent_path().parent_path()}) {
    const fs::path recipe = run / kRecipe;
    if (!fs::exists(recipe)) continue;
    if (run != folder && folder.parent_path().filename() != "checkpoints") continue;
    const Json table = read_toml(recipe.string());
    const auto data = table.find("data");
    if (data == table.end() || !data->is_object()) return std::nullopt;
    OwnText own;
    own.recipe = recipe;
    std::int64_t valid_bytes = 0;
    read(*data, "train", recipe, own.train);
    read(*data, "valid", recipe, own.valid);
    read(*data, "text_key", recipe, own.format.json_key);
    read(*data, "binary", recipe, own.format.binary);
    read(*data, "valid_bytes", recipe, valid_bytes);
    read(*data, "task", recipe, own.task);
    read(*data, "spans", recipe, own.spans);
    if (own.task == text::Task::pairs) read(*data, "target_key", recipe, own.format.target_key);
    for (std::string* name : {&own.train, &own.valid}) *name = text::named_from_anywhere(*name);
    own.valid_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, valid_bytes));
    return own;
  }
  return std::nullopt;
}

}  // namespace mote::compress
