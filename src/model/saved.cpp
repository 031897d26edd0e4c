#include "model/saved.h"

#include "base/check.h"
#include "base/json_text.h"
#include "checkpoint/families/mote.h"
#include "model/packed_weight.h"

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
  json["format_version"] = checkpoint::kMoteVersion;
  json.update(to_json(config));
  return json;
}

// Gathers every tensor of a model in order, packed ones in parts.
class Lister final : public ParameterVisitor {
 public:
  std::vector<checkpoint::TensorSpec> specs;
  std::vector<std::function<void(checkpoint::SafetensorsWriter&)>> writes;
  std::vector<checkpoint::PackedTensor> packed;

  void matrix(const Parameter& p, WeightPtr& weight) override {
    if (const auto* q16 = as_q16(*weight))
      add_parts(p.name, *q16, checkpoint::Coder::q16, weight);
    else if (const auto* two_bit = as_two_bit(*weight))
      add_parts(p.name, *two_bit, checkpoint::Coder::two_bit, weight);
    else
      add(p.name, weight->to_dense());
  }
  void tensor(const Parameter& p, Tensor& value) override { add(p.name, value); }
  void table(const Parameter& p, RowTablePtr& table) override { add(p.name, table->values()); }

 private:
  void add(const std::string& name, const Tensor& value) {
    const Tensor dense = value.detach().contiguous();
    specs.push_back({name, Dtype::f32, shape_of(value)});
    writes.push_back([name, dense](checkpoint::SafetensorsWriter& writer) {
      writer.write(name, bytes_of(dense));
    });
  }
  template <class Parts>
  void add_parts(const std::string& name, const Parts& parts, checkpoint::Coder coder,
                 const WeightPtr& weight) {
    for (auto& spec : checkpoint::part_specs(name, parts)) specs.push_back(std::move(spec));
    // The weight is kept: it owns what the parts point to.
    writes.push_back([name, parts, weight](checkpoint::SafetensorsWriter& writer) {
      checkpoint::write_parts(writer, name, parts);
    });
    packed.push_back(
        {name, coder, weight->shape().experts, weight->shape().out, weight->shape().in});
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

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

// Puts tensors of a file into a model: views of the mapped file, or trainable copies.
class Filler final : public ParameterVisitor {
 public:
  // Without an owner tensors are copied.
  Filler(const SafetensorsFile& file, std::string prefix,
         std::shared_ptr<const SafetensorsFile> owner, std::vector<checkpoint::PackedTensor> packed,
         const Executor& executor)
      : file_(file),
        prefix_(std::move(prefix)),
        owner_(std::move(owner)),
        packed_(std::move(packed)),
        executor_(executor) {}

  void matrix(const Parameter& p, WeightPtr& weight) override {
    const WeightShape wanted = weight_shape(p);
    for (const checkpoint::PackedTensor& t : packed_) {
      if (t.name != p.name) continue;
      const WeightShape found{t.experts, t.out, t.in, wanted.stacked || t.experts != 1};
      if (found != wanted)
        throw_shape(file_.path().string(), p.name, to_string(wanted), to_string(found));
      weight = t.coder == checkpoint::Coder::q16
                   ? make_packed_weight(checkpoint::q16_in(file_, t, executor_), owner_, p.name,
                                        wanted.stacked)
                   : make_packed_weight(checkpoint::two_bit_in(file_, t, executor_), owner_, p.name,
                                        wanted.stacked);
      return;
    }
    weight = make_dense_weight(find(p));
  }
  void tensor(const Parameter& p, Tensor& value) override { value = find(p); }
  void table(const Parameter& p, RowTablePtr& table) override {
    table = std::make_shared<RowTable>(p.name, find(p).detach());
  }

 private:
  Tensor find(const Parameter& p) const {
    const checkpoint::Tensor& stored = file_.at(prefix_ + p.name);
    if (stored.shape != p.shape)
      throw_shape(file_.path().string(), p.name, text_of(p.shape), text_of(stored.shape));
    const Tensor x = tensor_over(stored, owner_, p.name, file_.path().string());
    return owner_ ? x : x.clone().requires_grad_(p.trainable);
  }

  const SafetensorsFile& file_;
  const std::string prefix_;
  const std::shared_ptr<const SafetensorsFile> owner_;
  const std::vector<checkpoint::PackedTensor> packed_;
  const Executor& executor_;
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

void save_model(Model& model, const fs::path& folder,
                std::optional<checkpoint::Quantization> quantization) {
  Lister lister;
  model.visit(lister);
  MOTE_CHECK(lister.packed.empty() == !quantization, "save_model: ", lister.packed.size(),
             " packed tensors and ", quantization ? "a" : "no", " description of them");
  checkpoint::SafetensorsWriter writer(folder / kModelFile, lister.specs, {{"format", "pt"}});
  for (const auto& write : lister.writes) write(writer);
  Json config = config_json(model.config());
  if (quantization) {
    quantization->tensors = lister.packed;
    config["quantization_config"] = to_json(*quantization);
  }
  write_file(folder / kConfigFile, json_text(config, 2) + "\n");
  writer.commit();
}

void save_tokenizer(const text::Tokenizer& tokenizer, const fs::path& folder) {
  tokenizer.save(folder);
  const Json ids = {{"bos_token_id", tokenizer.end_of_text()},
                    {"eos_token_id", tokenizer.end_of_text()}};
  write_file(folder / "generation_config.json", ids.dump(2) + "\n");
}

fs::path find_model(const std::string& name) {
  const fs::path path = name;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return path;
  if (fs::is_regular_file(path, ignored) && path.filename() == kModelFile)
    return path.has_parent_path() ? path.parent_path() : ".";
  throw Error(fs::exists(path, ignored) ? ErrorKind::unsupported : ErrorKind::file,
              concat(name, fs::exists(path, ignored) ? ": is no model" : ": no such model",
                     "; give a folder that mote wrote, or its model.safetensors (GGUF files and "
                     "names of published models are not read yet)"))
      .in(name);
}

SavedConfig load_config(const fs::path& folder) {
  const std::string path = (folder / kConfigFile).string();
  Json json = read_json_object(path);
  const auto type = json.find("model_type");
  if (type == json.end() || *type != "mote")
    throw Error(ErrorKind::unsupported,
                concat(path, ": model_type is ", type == json.end() ? "missing" : quoted(*type),
                       ", only models made by mote are read yet"))
        .in(path)
        .at("model_type");
  SavedConfig saved;
  if (const auto packed = json.find("quantization_config"); packed != json.end())
    saved.quantization = checkpoint::read_quantization(*packed, path);
  const auto version = json.find("format_version");
  if (version != json.end() &&
      (!version->is_number_integer() || *version > checkpoint::kMoteVersion))
    throw Error(ErrorKind::unsupported, concat(path, ": format_version is ", quoted(*version),
                                               ", this program reads up to ",
                                               checkpoint::kMoteVersion, "; use a newer one"))
        .in(path)
        .at("format_version");
  const bool upgrade = version == json.end() || *version == 1;
  for (const char* key :
       {"architectures", "model_type", "torch_dtype", "format_version", "quantization_config"})
    json.erase(key);
  if (upgrade) json = checkpoint::upgraded_model_file(std::move(json));
  saved.model = read_config<ModelConfig>(json, path);
  check_complete<ModelConfig>(json, {path, ""});
  checkpoint::validate(saved.model, {path, ""});
  return saved;
}

std::unique_ptr<Model> load_model(const fs::path& folder, const Executor& executor) {
  const SavedConfig saved = load_config(folder);
  auto model = make_model(saved.model);
  const auto file = std::make_shared<const SafetensorsFile>(folder / kModelFile);
  Filler filler(
      *file, "", file,
      saved.quantization ? saved.quantization->tensors : std::vector<checkpoint::PackedTensor>(),
      executor);
  model->visit(filler);
  return model;
}

void load_parameters(Model& model, const SafetensorsFile& file, const std::string& prefix) {
  Filler filler(file, prefix, nullptr, {}, serial());
  model.visit(filler);
}

}  // namespace mote::model
