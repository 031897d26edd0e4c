#include <map>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "base/json_text.h"
#include "checkpoint/describe.h"
#include "checkpoint/family.h"
#include "checkpoint/gguf.h"
#include "checkpoint/pypi.h"
#include "cli/command.h"
#include "model/saved.h"

namespace mote::cli {
namespace {

// What the file holds of one tensor of the model: the tensor itself, or its packed parts together.
class Lister final : public model::ParameterVisitor {
 public:
  Json tensors = Json::array();
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    add(p, weight->storage(), weight->bits());
  }
  void tensor(const model::Parameter& p, Tensor& value) override { add_plain(p, value); }
  void table(const model::Parameter& p, model::RowTablePtr& table) override {
    add_plain(p, table->values());
  }

 private:
  void add_plain(const model::Parameter& p, const Tensor& value) {
    add(p, "f32", static_cast<std::uint64_t>(value.numel()) * 32);
  }
  void add(const model::Parameter& p, const std::string& dtype, std::uint64_t bits) {
    tensors.push_back(
        {{"name", p.name},
         {"shape", p.shape},
         {"dtype", dtype},
         {"bytes", (bits + 7) / 8},
         {"bits_per_weight", static_cast<double>(bits) / static_cast<double>(p.count())}});
  }
};

class Inspect final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_,
                   "a model's folder, pypi:NAME, or a file of tensors: safetensors, GGUF or of "
                   "torch.save")
        ->required()
        ->check(not_empty());
    app.add_flag("--tensors", tensors_, "list the tensors too");
  }

  Json run(const Context& context) override {
    if (checkpoint::is_pypi_name(model_)) model_ = checkpoint::pypi_model(model_).string();
    if (Json facts = describe_container(); !facts.is_null()) {
      add_gguf_model(*context.run.executor, facts);
      return facts;
    }
    const std::filesystem::path folder = model::find_model(model_);
    const model::SavedConfig saved = model::load_config(folder);
    const auto model = model::load_model(folder, *context.run.executor);
    const auto source = checkpoint::open_tensors(folder);
    Lister lister;
    model->visit(lister);
    Json facts = {{"family", saved.family},
                  {"format", saved.quantization ? concat("compressed to ", saved.quantization->bits,
                                                         " by ", saved.quantization->method)
                                                : source->format()},
                  {"parameters", parameters_of(*model)}};
    add_experts(saved.model, facts);
    facts["layers"] = saved.model.layers;
    if (checkpoint::reads_source(saved.model)) {
      facts["encoder"] = {{"layers", saved.model.encoder.layers}};
      add_experts(checkpoint::encoder_of(saved.model), facts["encoder"]);
    }
    facts["dtype"] = dtype_of(*source);
    facts["bytes"] = model::model_bytes(folder);
    facts["bytes_in"] = bytes_in(*source, parameters_in(lister, saved), model::model_bytes(folder));
    if (const Json ignored = ignored_in(*source, saved); !ignored.empty())
      facts["ignored"] = ignored;
    if (saved.quantization) facts["made_from"] = to_json(saved.quantization->made_from);
    if (tensors_) facts["tensors"] = lister.tensors;
    return facts;
  }

 private:
  // What any container says of itself, for families that mote does not know and files on their own;
  // null where there is a model to load.
  Json describe_container() const {
    namespace fs = std::filesystem;
    const fs::path path = model_;
    std::error_code ignored;
    const bool folder = fs::is_directory(path, ignored);
    if (!folder && !checkpoint::is_tensor_file(path)) return nullptr;
    const fs::path config = (folder ? path : path.parent_path()) / "config.json";
    const bool is_model = folder || path.filename() == "model.safetensors";
    Json json = Json::object();
    if (is_model && fs::exists(config, ignored)) json = read_json_object(config.string());
    if (checkpoint::find_family(json) != nullptr) return nullptr;
    Json facts = checkpoint::describe(*checkpoint::open_tensors(path), tensors_);
    if (json.contains("model_type")) facts["family"] = json["model_type"];
    return facts;
  }

  static Json parameters_of(model::Model& model) {
    const model::ParameterCounts counts = model::count_parameters(model);
    return {{"total", counts.total},
            {"active", counts.active},
            {"feed_forward", counts.feed_forward},
            {"feed_forward_active", counts.feed_forward_active}};
  }

  // What a GGUF file of an architecture that mote runs is as a model, or why it is none.
  void add_gguf_model(const Executor& executor, Json& facts) const {
    const auto source = checkpoint::open_tensors(model_);
    const auto* gguf = dynamic_cast<const checkpoint::GgufFile*>(source.get());
    if (gguf == nullptr || !checkpoint::is_gguf_model(*gguf)) return;
    try {
      const auto model = model::load_model(gguf->path(), executor);
      facts["parameters"] = parameters_of(*model);
      facts["layers"] = model->config().layers;
      if (const Json ignored = ignored_in(*source, model::load_config(gguf->path()));
          !ignored.empty())
        facts["ignored"] = ignored;
      add_experts(model->config(), facts);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::interrupted) throw;
      facts["problem"] = error.what();
    }
  }

  // What all tensors are stored as; a packed tensor's parts are of several types.
  static std::string dtype_of(const checkpoint::TensorSource& source) {
    std::set<checkpoint::Dtype> types;
    for (const auto& [name, tensor] : source.tensors()) types.insert(tensor.dtype);
    if (types.size() != 1) return "mixed";
    switch (*types.begin()) {
      case checkpoint::Dtype::f32:
        return "float32";
      case checkpoint::Dtype::bf16:
        return "bfloat16";
      case checkpoint::Dtype::f16:
        return "float16";
      default:
        return checkpoint::name(*types.begin());
    }
  }

  // Tensors of the files that the model has no use for, knowingly.
  static Json ignored_in(const checkpoint::TensorSource& source, const model::SavedConfig& saved) {
    Json names = Json::array();
    for (const auto& [name, tensor] : source.tensors())
      if (saved.ignored(name)) names.push_back(name);
    return names;
  }

  // Tensors of the files, of experts apart those of expert 0, and the parameters that they are.
  static std::map<std::string, std::string> parameters_in(const Lister& lister,
                                                          const model::SavedConfig& saved) {
    std::map<std::string, std::string> parameters;
    for (const Json& tensor : lister.tensors) {
      const std::string parameter = tensor["name"], stored = saved.stored(parameter).name;
      parameters[checkpoint::has_experts(stored) ? checkpoint::name_of_expert(stored, 0) : stored] =
          parameter;
    }
    return parameters;
  }

  // Bytes of the files by part of the model; headers and padding are "rest".
  static Json bytes_in(const checkpoint::TensorSource& source,
                       const std::map<std::string, std::string>& parameters, std::uint64_t of) {
    constexpr std::pair<const char*, const char*> kParts[] = {{"_norm.", "norms"},
                                                              {"attention.", "attention"},
                                                              {".experts.", "experts"},
                                                              {".router.", "routers"},
                                                              {"router_cell.", "routers"},
                                                              {".feed_forward.", "feed_forward"},
                                                              {"embedding.", "embedding"},
                                                              {"positions.", "embedding"},
                                                              {"position_bias.", "attention"},
                                                              {"head.", "head"},
                                                              {"norm.", "norms"}};
    Json bytes = Json::object();
    std::uint64_t counted = 0;
    std::set<const std::byte*> seen;  // tied tensors of torch.save's files lie in one place
    for (const auto& [stored, tensor] : source.tensors()) {
      if (!tensor.bytes.empty() && !seen.insert(tensor.bytes.data()).second) continue;
      const auto known = parameters.find(stored);
      const std::string& name = known == parameters.end() ? stored : known->second;
      for (const auto& [mark, part] : kParts) {
        if (name.find(mark) == std::string::npos) continue;
        bytes[part] = bytes.value(part, std::uint64_t{0}) + tensor.bytes.size();
        counted += tensor.bytes.size();
        break;
      }
    }
    bytes["rest"] = of - counted;
    return bytes;
  }

  // Of the layers that have experts: a number where all have the same, else one for each layer (0:
  // it has none).
  static void add_experts(const checkpoint::ModelConfig& config, Json& facts) {
    std::vector<std::int64_t> experts, per_token;
    for (std::int64_t i = 0; i < config.layers; ++i) {
      const checkpoint::LayerConfig layer = checkpoint::layer_config(config, i);
      const auto* mixture = layer.feed_forward.get_if<checkpoint::Mixture>();
      experts.push_back(mixture ? mixture->experts : 0);
      per_token.push_back(mixture ? mixture->router.experts_per_token : 0);
    }
    const auto add = [&](const char* key, const std::vector<std::int64_t>& values) {
      const bool alike = std::all_of(values.begin(), values.end(),
                                     [&](std::int64_t n) { return n == values.front(); });
      if (!alike)
        facts[key] = values;
      else if (values.front() > 0)
        facts[key] = values.front();
    };
    add("experts_per_layer", experts);
    add("experts_per_token", per_token);
  }

  std::string model_;
  bool tensors_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_inspect() {
  return std::make_unique<Inspect>();
}

}  // namespace mote::cli
