#include "train/state.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/log.h"
#include "base/toml.h"
#include "checkpoint/safetensors.h"
#include "model/saved.h"

namespace mote::train {
namespace {

constexpr const char* kFormatVersion = "3";
// What second moments, and counts of updates, are named by.
constexpr const char* kFromZero[] = {"square.", "count."};
constexpr const char* kDamaged =
    "; the state is damaged: write the name of another checkpoint into checkpoints/latest, or "
    "start from the weights beside it with --from";

[[noreturn]] void refuse(const checkpoint::SafetensorsFile& file, const std::string& field,
                         const std::string& what) {
  throw Error(ErrorKind::file, concat(file.path().string(), ": ", what))
      .in(file.path().string())
      .at(field);
}

// A tensor of the file, of numbers that a run can leave: squares are not negative.
Tensor checked(const checkpoint::SafetensorsFile& file, const checkpoint::Tensor& tensor,
               const std::string& name, torch::ScalarType type = torch::kFloat32) {
  const Tensor stored = model::tensor_over(tensor, nullptr, name, file.path().string());
  if (stored.scalar_type() != type)
    refuse(file, name,
           concat("'", name, "' is ", checkpoint::name(tensor.dtype), ", the run's is ",
                  checkpoint::name(model::dtype_of(type)), kDamaged));
  const bool square = std::any_of(std::begin(kFromZero), std::end(kFromZero),
                                  [&](const char* start) { return name.starts_with(start); });
  Tensor sound = stored.isfinite();
  if (square) sound = sound.logical_and(stored >= 0);
  if (sound.all().item<bool>()) return stored;
  const auto at = sound.flatten().logical_not().nonzero()[0].item<std::int64_t>();
  refuse(file, name,
         concat("'", name, "' holds ", stored.flatten()[at].item<float>(), " as number ", at,
                ", where only finite numbers ", square ? "from 0 " : "", "belong", kDamaged));
}

void copy_into(Tensor& target, const checkpoint::SafetensorsFile& file,
               const checkpoint::UsedTensors& used, const std::string& name) {
  const Tensor stored = checked(file, used.at(name), name, target.scalar_type());
  if (stored.sizes() != target.sizes())
    refuse(file, name,
           concat("tensor '", name, "' is ", stored.sizes(), ", the recipe's model has ",
                  target.sizes(), "; the state belongs to another run"));
  target.copy_(stored);
}

std::string text_in(const checkpoint::SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) refuse(file, key, concat("'", key, "' is missing"));
  return found->second;
}

// A number of the metadata, 0 or more.
template <class T>
T number_in(const checkpoint::SafetensorsFile& file, const std::string& key) {
  const std::string text = text_in(file, key);
  T value = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || !(value >= 0) ||
      !std::isfinite(static_cast<double>(value)))
    refuse(file, key, concat("'", key, "' is '", text, "', no number from 0"));
  return value;
}

void check_origin(const checkpoint::SafetensorsFile& file, const Origin& origin) {
  const std::string path = file.path().string(), recipe = text_in(file, "recipe");
  const std::string field =
      changed_computation(origin.recipe, recipe_from(parse_toml(recipe, path), path));
  const char* advice = "; the state belongs to another run";
  if (!field.empty())
    refuse(file, field, concat("'", field, "' differs from this run's recipe", advice));
  if (const std::string tokens = text_in(file, "tokens"); tokens != origin.tokens)
    refuse(file, "tokens",
           concat("was made on tokens of xxh64 ", tokens, ", data/tokens.bin has ", origin.tokens,
                  advice));
  for (const auto& [key, now] :
       {std::pair{"isa", origin.isa}, {"precision", origin.precision}, {"version", origin.version}})
    if (const std::string then = text_in(file, key); then != now)
      log::warn(concat("the run was made with ", key, " ", then, " and goes on with ", now,
                       ": its numbers will not be the same bit for bit"));
}

// The positions that block `layer` remembers after a number of steps.
std::int64_t remembered_positions(const checkpoint::ModelConfig& config, std::int64_t layer,
                                  std::int64_t steps_done, std::int64_t steps_per_epoch) {
  const checkpoint::LayerConfig resolved = checkpoint::layer_config(config, layer);
  const auto* xl = resolved.attention.get_if<checkpoint::TransformerXl>();
  const std::int64_t windows = steps_done == 0 ? 0 : (steps_done - 1) % steps_per_epoch + 1;
  return xl ? std::min(xl->memory_blocks, windows) * config.context : 0;
}

// The fewest digits that give the same number back.
std::string exact(double value) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

}  // namespace

void save_state(const std::filesystem::path& path, Optimizer& optimizer,
                const model::Memory& memory, const LossWindow& window, const Origin& origin) {
  std::vector<checkpoint::TensorSpec> specs;
  std::vector<Tensor> values;
  const auto add = [&](const std::string& name, const Tensor& value) {
    values.push_back(value.detach().contiguous());
    specs.push_back({name, model::dtype_of(value.scalar_type()), model::shape_of(value)});
  };
  optimizer.visit_state([&](const std::string& name, Tensor& value) { add(name, value); });
  for (std::size_t i = 0; i < memory.layers_BMD.size(); ++i)
    if (memory.layers_BMD[i].defined()) add("memory." + std::to_string(i), memory.layers_BMD[i]);
  checkpoint::SafetensorsWriter writer(path, specs,
                                       {{"format_version", kFormatVersion},
                                        {"steps_done", std::to_string(optimizer.steps_done())},
                                        {"memory_layers", std::to_string(memory.layers_BMD.size())},
                                        {"window_loss", exact(window.sum)},
                                        {"window_steps", std::to_string(window.steps)},
                                        {"recipe", to_toml(to_json(origin.recipe))},
                                        {"tokens", origin.tokens},
                                        {"isa", origin.isa},
                                        {"precision", origin.precision},
                                        {"version", origin.version}});
  for (std::size_t i = 0; i < specs.size(); ++i)
    writer.write(specs[i].name, model::bytes_of(values[i]));
  writer.commit();
}

void load_state(const std::filesystem::path& path, std::int64_t steps_done, Optimizer& optimizer,
                model::Memory& memory, LossWindow& window, const Origin& origin,
                std::int64_t steps_per_epoch) {
  const torch::NoGradGuard no_grad;
  const checkpoint::SafetensorsFile file(path);
  if (const std::string version = text_in(file, "format_version"); version != kFormatVersion)
    refuse(file, "format_version",
           concat("format_version is ", version, ", this program reads ", kFormatVersion,
                  "; resume with the program that wrote it, or start from its weights by --from"));
  check_origin(file, origin);
  if (const auto done = number_in<std::int64_t>(file, "steps_done"); done != steps_done)
    refuse(file, "steps_done",
           concat("steps_done is ", done, ", its folder says ", steps_done,
                  "; the state belongs to another checkpoint"));
  const checkpoint::UsedTensors used(file);
  optimizer.visit_state(
      [&](const std::string& name, Tensor& value) { copy_into(value, file, used, name); });
  const checkpoint::ModelConfig& config = origin.recipe.model;
  const auto remembered = number_in<std::int64_t>(file, "memory_layers");
  if (remembered > config.layers)
    refuse(file, "memory_layers",
           concat("memory_layers is ", remembered, ", the model has ", config.layers,
                  " layers; the state belongs to another run"));
  memory.reset();
  memory.layers_BMD.resize(static_cast<std::size_t>(remembered));
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const std::string name = "memory." + std::to_string(i);
    const std::int64_t positions = remembered_positions(config, i, steps_done, steps_per_epoch);
    const std::vector<std::int64_t> wanted = {origin.recipe.training.streams, positions,
                                              config.dim};
    const bool there = used.has(name);
    if (there != (positions > 0) || (there && (used.at(name).shape != wanted || i >= remembered)))
      refuse(file, name,
             concat("'", name, "' is ",
                    there ? concat(torch::IntArrayRef(used.at(name).shape)) : "missing",
                    ", the run remembers ", torch::IntArrayRef(wanted),
                    "; the state belongs to another run"));
    if (there)
      memory.layers_BMD[static_cast<std::size_t>(i)] = checked(file, used.at(name), name).clone();
  }
  used.check_all_used();
  window = {number_in<double>(file, "window_loss"), number_in<std::int64_t>(file, "window_steps")};
  if (window.steps > steps_done)
    refuse(file, "window_steps",
           concat("window_steps is ", window.steps, ", steps_done ", steps_done, kDamaged));
  if (window.steps == 0 && window.sum != 0)
    refuse(file, "window_loss",
           concat("window_loss is ", window.sum, ", of no window_steps", kDamaged));
  optimizer.restore(steps_done);
}

}  // namespace mote::train
