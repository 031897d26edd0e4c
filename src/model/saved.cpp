#include "model/saved.h"

#include "base/check.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;
using checkpoint::SafetensorsFile;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kConfigFile = "config.json";

Json config_json(const ModelConfig& config) {
  Json json = Json::object();
  json["architectures"] = Json::array({"MoteForCausalLM"});
  json["model_type"] = "mote";
  json["torch_dtype"] = "float32";
  json.update(to_json(config));
  return json;
}

// Gathers every tensor of a model in order.
class Lister final : public ParameterVisitor {
 public:
  std::vector<checkpoint::TensorSpec> specs;
  std::vector<Tensor> values;
  void matrix(const std::string& name, WeightPtr& weight, const WeightShape&,
              const Init&) override {
    add(name, weight->to_dense());
  }
  void tensor(const std::string& name, Tensor& value, const std::vector<std::int64_t>&,
              const Init&) override {
    add(name, value);
  }

 private:
  void add(const std::string& name, const Tensor& value) {
    values.push_back(value.detach().contiguous());
    specs.push_back({name, Dtype::f32, shape_of(value)});
  }
};

[[noreturn]] void throw_shape(const std::string& file, const std::string& name,
                              const std::string& wanted, const std::string& found) {
  throw Error(ErrorKind::file,
              concat(file, ": tensor '", name, "' has shape ", found, ", config.json says ", wanted,
                     "; the two files do not belong together"))
      .in(file)
      .at(name);
}

std::string to_string(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

// Puts tensors of a file into a model: views of the mapped file, or trainable copies.
class Filler final : public ParameterVisitor {
 public:
  Filler(std::shared_ptr<const SafetensorsFile> owner, const SafetensorsFile& file,
         std::string prefix)
      : owner_(std::move(owner)), file_(file), prefix_(std::move(prefix)) {}

  void matrix(const std::string& name, WeightPtr& weight, const WeightShape& s,
              const Init&) override {
    weight = make_dense_weight(
        find(name, s.stacked ? std::vector{s.experts, s.out, s.in} : std::vector{s.out, s.in}));
  }
  void tensor(const std::string& name, Tensor& value, const std::vector<std::int64_t>& shape,
              const Init&) override {
    value = find(name, shape);
  }

 private:
  Tensor find(const std::string& name, const std::vector<std::int64_t>& shape) const {
    const checkpoint::Tensor& stored = file_.at(prefix_ + name);
    if (stored.shape != shape)
      throw_shape(file_.path().string(), name, to_string(shape), to_string(stored.shape));
    const Tensor x = tensor_over(stored, owner_, name, file_.path().string());
    return owner_ ? x : x.clone().requires_grad_();
  }

  std::shared_ptr<const SafetensorsFile> owner_;  // null: copy
  const SafetensorsFile& file_;
  std::string prefix_;
};

}  // namespace

std::span<const std::byte> bytes_of(const Tensor& contiguous) {
  return {static_cast<const std::byte*>(contiguous.const_data_ptr()), contiguous.nbytes()};
}

std::vector<std::int64_t> shape_of(const Tensor& x) {
  return x.sizes().vec();
}

Tensor tensor_over(const checkpoint::Tensor& stored, std::shared_ptr<const void> owner,
                   const std::string& name, const std::string& file) {
  if (stored.dtype != Dtype::f32)
    throw Error(ErrorKind::unsupported,
                concat(file, ": tensor '", name, "' is ", checkpoint::name(stored.dtype),
                       ", only F32 is read yet"))
        .in(file)
        .at(name);
  const auto address = reinterpret_cast<std::uintptr_t>(stored.bytes.data());
  auto* data = const_cast<std::byte*>(stored.bytes.data());
  if (address % alignof(float) == 0)
    return torch::from_blob(
        data, stored.shape, [owner](void*) {}, torch::kFloat32);
  Tensor copy = torch::empty(stored.shape, torch::kFloat32);
  std::memcpy(copy.mutable_data_ptr(), data, stored.bytes.size());
  return copy;
}

void save_model(LanguageModel& model, const fs::path& folder) {
  Lister lister;
  model.visit(lister);
  checkpoint::SafetensorsWriter writer(folder / kModelFile, lister.specs, {{"format", "pt"}});
  for (std::size_t i = 0; i < lister.specs.size(); ++i)
    writer.write(lister.specs[i].name, bytes_of(lister.values[i]));
  write_file(folder / kConfigFile, config_json(model.config()).dump(2) + "\n");
  writer.commit();
}

ModelConfig load_config(const fs::path& folder) {
  const std::string path = (folder / kConfigFile).string();
  Json json;
  try {
    json = Json::parse(read_file(path));
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::file, concat(path, ": ", error.what())).in(path);
  }
  if (!json.is_object())
    throw Error(ErrorKind::file, concat(path, ": is not a JSON object")).in(path);
  if (json.value("model_type", "") != "mote")
    throw Error(ErrorKind::unsupported,
                concat(path, ": model_type is ", json.value("model_type", "missing"),
                       ", only models trained by mote are read yet"))
        .in(path)
        .at("model_type");
  for (const char* key : {"architectures", "model_type", "torch_dtype", "quantization_config"})
    json.erase(key);
  ModelConfig config = read_config<ModelConfig>(json, path);
  validate(config, path);
  return config;
}

std::unique_ptr<LanguageModel> load_model(const fs::path& folder) {
  auto model = std::make_unique<LanguageModel>(load_config(folder));
  const auto file = std::make_shared<const SafetensorsFile>(folder / kModelFile);
  Filler filler(file, *file, "");
  model->visit(filler);
  return model;
}

void load_parameters(LanguageModel& model, const SafetensorsFile& file, const std::string& prefix) {
  Filler filler(nullptr, file, prefix);
  model.visit(filler);
}

}  // namespace mote::model
