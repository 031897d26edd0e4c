#include "train/state.h"

#include <array>
#include <charconv>

#include "checkpoint/safetensors.h"
#include "model/saved.h"

namespace mote::train {
namespace {

constexpr const char* kFormatVersion = "2";

void copy_into(Tensor& target, const checkpoint::TensorSource& file, const std::string& name) {
  const Tensor stored = model::tensor_over(file.at(name), nullptr, name, file.path().string());
  if (stored.sizes() != target.sizes() || stored.scalar_type() != target.scalar_type())
    throw Error(ErrorKind::file, concat(file.path().string(), ": tensor '", name, "' has ",
                                        stored.numel(), " elements, the recipe's model ",
                                        target.numel(), "; the state belongs to another run"))
        .in(file.path().string())
        .at(name);
  target.copy_(stored);
}

// A number of the metadata, 0 or more.
template <class T>
T number_in(const checkpoint::SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  T value = -1;
  if (found != file.metadata().end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  if (!(value >= 0))
    throw Error(ErrorKind::file,
                concat(file.path().string(), ": '", key, "' is missing or no number"))
        .in(file.path().string())
        .at(key);
  return value;
}

// The fewest digits that give the same number back.
std::string exact(double value) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

}  // namespace

void save_state(const std::filesystem::path& path, Optimizer& optimizer,
                const model::Memory& memory, const LossWindow& window) {
  std::vector<checkpoint::TensorSpec> specs;
  std::vector<Tensor> values;
  const auto add = [&](const std::string& name, const Tensor& value) {
    values.push_back(value.detach().contiguous());
    specs.push_back({name, checkpoint::Dtype::f32, model::shape_of(value)});
  };
  optimizer.visit_state([&](const std::string& name, Tensor& value) { add(name, value); });
  for (std::size_t i = 0; i < memory.layers_BMD.size(); ++i)
    if (memory.layers_BMD[i].defined()) add("memory." + std::to_string(i), memory.layers_BMD[i]);
  checkpoint::SafetensorsWriter writer(path, specs,
                                       {{"format_version", kFormatVersion},
                                        {"steps_done", std::to_string(optimizer.steps_done())},
                                        {"memory_layers", std::to_string(memory.layers_BMD.size())},
                                        {"window_loss", exact(window.sum)},
                                        {"window_steps", std::to_string(window.steps)}});
  for (std::size_t i = 0; i < specs.size(); ++i)
    writer.write(specs[i].name, model::bytes_of(values[i]));
  writer.commit();
}

void load_state(const std::filesystem::path& path, Optimizer& optimizer, model::Memory& memory,
                LossWindow& window, std::int64_t layers) {
  const torch::NoGradGuard no_grad;
  const checkpoint::SafetensorsFile file(path);
  const auto version = file.metadata().find("format_version");
  if (version == file.metadata().end() || version->second != kFormatVersion)
    throw Error(
        ErrorKind::file,
        concat(path.string(), ": format_version is ",
               version == file.metadata().end() ? "missing" : version->second,
               ", this program reads ", kFormatVersion, "; resume with the program that wrote it"))
        .in(path.string())
        .at("format_version");
  const checkpoint::UsedTensors used(file);
  optimizer.visit_state(
      [&](const std::string& name, Tensor& value) { copy_into(value, used, name); });
  const std::int64_t remembered = number_in<std::int64_t>(file, "memory_layers");
  if (remembered > layers)
    throw Error(ErrorKind::file, concat(path.string(), ": memory of ", remembered,
                                        " layers, the model has ", layers))
        .in(path.string())
        .at("memory_layers");
  memory.reset();
  for (std::int64_t i = 0; i < remembered; ++i) {
    const std::string name = "memory." + std::to_string(i);
    memory.layers_BMD.emplace_back();
    if (used.has(name))
      memory.layers_BMD.back() =
          model::tensor_over(used.at(name), nullptr, name, path.string()).clone();
  }
  used.check_all_used();
  window = {number_in<double>(file, "window_loss"), number_in<std::int64_t>(file, "window_steps")};
  optimizer.restore(number_in<std::int64_t>(file, "steps_done"));
}

}  // namespace mote::train
