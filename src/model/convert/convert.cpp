#include "model/convert/convert.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/json_text.h"
#include "base/log.h"
#include "checkpoint/counterpart.h"
#include "checkpoint/families/mote.h"
#include "checkpoint/same_model.h"
#include "model/convert/text_files.h"
#include "model/convert/written_tensor.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;

constexpr const char* kConfigFile = "config.json";

// Every parameter of a model, without its values.
std::vector<Parameter> parameters_of(const ModelConfig& config) {
  class Lister final : public ParameterVisitor {
   public:
    void matrix(const Parameter& p, WeightPtr&) override { add(p, Role::matrix); }
    void tensor(const Parameter& p, Tensor&) override {
      add(p, p.role == Role::buffer ? Role::buffer : Role::tensor);
    }
    void table(const Parameter& p, RowTablePtr&) override { add(p, Role::table); }
    std::vector<Parameter> found;

   private:
    void add(const Parameter& p, Role role) {
      found.push_back(p);
      found.back().role = role;
    }
  };
  Lister lister;
  make_model(config)->visit(lister);
  return lister.found;
}

bool is_number(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::bf16 || dtype == Dtype::f16;
}

const char* transformers_name(Dtype dtype) {
  return dtype == Dtype::bf16 ? "bfloat16" : dtype == Dtype::f16 ? "float16" : "float32";
}

// The type of most numbers.
Dtype usual_type(const std::vector<WrittenTensor>& tensors) {
  std::array<std::int64_t, checkpoint::kNumDtypes> numbers{};
  for (const WrittenTensor& tensor : tensors) {
    std::int64_t count = 1;
    for (const std::int64_t size : tensor.spec.shape) count *= size;
    numbers[static_cast<std::size_t>(tensor.spec.dtype)] += count;
  }
  return static_cast<Dtype>(std::max_element(numbers.begin(), numbers.end()) - numbers.begin());
}

class Converter {
 public:
  Converter(const fs::path& model, const fs::path& out, const ConvertOptions& options,
            const Executor& executor)
      : model_(model),
        out_(out),
        options_(options),
        source_(model),
        reader_(source_, executor),
        parameters_(parameters_of(source_.saved().model)) {}

  ConvertReport to_safetensors();
  ConvertReport to_gguf();

 private:
  const ModelConfig& config() const { return source_.saved().model; }
  bool is_gguf() const { return dynamic_cast<const checkpoint::GgufFile*>(&source_.tensors()); }
  bool is_mote() const { return source_.saved().family == "mote"; }

  std::vector<WrittenTensor> list(const NamesOf& names, const std::string& format) const {
    return written_tensors(parameters_, names, format, model_.string());
  }
  static void set_changes(std::vector<WrittenTensor>& tensors, const ModelConfig& from,
                          const ModelConfig& to);
  void choose_safetensors_types(std::vector<WrittenTensor>& tensors);
  void choose_gguf_types(std::vector<WrittenTensor>& tensors);
  Dtype ternary_or_kept(const WrittenTensor& tensor);
  Dtype kept(const WrittenTensor& tensor, bool blocks_too);
  void tell_widened() const;
  template <class Writer>
  void write(const std::vector<WrittenTensor>& tensors, Writer& writer);
  // config.json and the family that it is of.
  Json hf_json(checkpoint::FamilyModel& model) const;

  const fs::path model_, out_;
  const ConvertOptions options_;
  const ModelSource source_;
  TensorReader reader_;
  const std::vector<Parameter> parameters_;
  std::int64_t exact_ = 0, widened_ = 0,
               ternary_ = 0;  // tensors of packed weights by what they become
};

void Converter::set_changes(std::vector<WrittenTensor>& tensors, const ModelConfig& from,
                            const ModelConfig& to) {
  for (WrittenTensor& tensor : tensors)
    for (WrittenTensor::Part& part : tensor.parts)
      part.change = weight_change(part.parameter.name, from, to);
}

// As they are; packed weights as BF16 where that is exact.
Dtype Converter::kept(const WrittenTensor& tensor, bool blocks_too) {
  const WrittenTensor::Part& part = tensor.parts.front();
  const auto stored = reader_.rows(part.parameter).stored();
  if (stored && is_number(*stored)) return *stored;
  if (stored && blocks_too && tensor.has_rows() && !part.change.is_of_values()) return *stored;
  const bool exact = reader_.holds(tensor, Dtype::bf16);
  ++(exact ? exact_ : widened_);
  return exact ? Dtype::bf16 : Dtype::f32;
}

void Converter::tell_widened() const {
  if (exact_ + widened_ > 0)
    log::info(concat("of ", exact_ + widened_, " packed tensors ", exact_,
                     " become BF16, which holds them exactly, and ", widened_,
                     " F32; --dtype chooses otherwise"));
}

void Converter::choose_safetensors_types(std::vector<WrittenTensor>& tensors) {
  for (WrittenTensor& tensor : tensors) {
    const Parameter& p = tensor.parts.front().parameter;
    tensor.spec.dtype = p.role == Role::buffer ? Dtype::f32
                        : options_.dtype       ? *options_.dtype
                                               : kept(tensor, false);
  }
  tell_widened();
}

// The ternary type that was asked for where it holds the matrix, else what there is; ternary weights that
// it does not hold are refused.
Dtype Converter::ternary_or_kept(const WrittenTensor& tensor) {
  const std::int64_t row = tensor.spec.shape.back();
  const auto block = static_cast<std::int64_t>(checkpoint::elements_per_group(*options_.dtype));
  if (row % block == 0 && reader_.holds(tensor, *options_.dtype)) {
    ++ternary_;
    return *options_.dtype;
  }
  const ParameterRows& rows = reader_.rows(tensor.parts.front().parameter);
  if (rows.storage().find("ternary") != std::string::npos)
    throw Error(
        ErrorKind::unsupported,
        concat(model_.string(), ": '", tensor.parts.front().parameter.name, "' is ", rows.storage(),
               row % block != 0
                   ? concat(" with rows of ", row, ", which blocks of ", block, " do not fill")
                   : concat(" whose two levels of a row are not -d and d, and ",
                            checkpoint::name(*options_.dtype), " has no others"),
               "; choose --dtype bf16"))
        .in(model_.string())
        .at(tensor.parts.front().parameter.name);
  return kept(tensor, true);
}

void Converter::choose_gguf_types(std::vector<WrittenTensor>& tensors) {
  const bool ternary = options_.dtype == Dtype::tq1_0 || options_.dtype == Dtype::tq2_0;
  for (WrittenTensor& tensor : tensors) {
    const Parameter& p = tensor.parts.front().parameter;
    const bool small = p.role != Role::matrix || tensor.spec.shape.size() < 2 ||
                       p.name.ends_with(".router.weight");
    if (small)
      tensor.spec.dtype = Dtype::f32;
    else if (!options_.dtype)
      tensor.spec.dtype = kept(tensor, true);
    else if (!ternary)
      tensor.spec.dtype = *options_.dtype;
    else if (p.name == "embedding.weight" || p.name == "head.weight")
      tensor.spec.dtype = kept(tensor, true);
    else
      tensor.spec.dtype = ternary_or_kept(tensor);
    const auto block = static_cast<std::int64_t>(elements_per_group(tensor.spec.dtype));
    if (tensor.spec.shape.back() % block != 0)
      throw Error(ErrorKind::unsupported,
                  concat(model_.string(), ": tensor '", tensor.spec.name, "' has rows of ",
                         tensor.spec.shape.back(), ", which blocks of ", block, " of ",
                         checkpoint::name(tensor.spec.dtype),
                         " do not fill; choose --dtype bf16, f16 or f32"))
          .in(model_.string())
          .at(tensor.spec.name);
  }
  if (ternary && ternary_ == 0)
    throw Error(ErrorKind::unsupported,
                concat(model_.string(), ": no matrix has numbers -d, 0 and d alone, as ",
                       checkpoint::name(*options_.dtype),
                       " has them; choose another --dtype, or compress it first"))
        .in(model_.string());
  tell_widened();
}

template <class Writer>
void Converter::write(const std::vector<WrittenTensor>& tensors, Writer& writer) {
  log::Progress progress("convert", static_cast<std::int64_t>(tensors.size()), "tensors");
  std::int64_t done = 0;
  for (const WrittenTensor& tensor : tensors) {
    reader_.bytes(tensor,
                  [&](std::span<const std::byte> bytes) { writer.write(tensor.spec.name, bytes); });
    progress.update(++done);
  }
  progress.finish();
}

std::vector<checkpoint::TensorSpec> specs_of(const std::vector<WrittenTensor>& tensors) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const WrittenTensor& tensor : tensors) specs.push_back(tensor.spec);
  return specs;
}

// Of a folder what stands there, of a GGUF file what says the same, of the rest mote's own.
Json Converter::hf_json(checkpoint::FamilyModel& model) const {
  if (is_gguf()) {
    checkpoint::HfForm form =
        checkpoint::hf_form(source_.saved().family, config(), "float32", out_ / kConfigFile);
    model = std::move(form.model);
    return form.json;
  }
  const std::string path = (model_ / kConfigFile).string();
  Json json = is_mote() ? checkpoint::write_mote(config()) : read_json_object(path);
  json.erase("quantization_config");
  const auto read = [&] { model = checkpoint::family_of(json, path).read({json, path, nullptr}); };
  read();
  // The files, not the config, decide whether the output layer is the embedding.
  if (model.config.tied != config().tied) {
    json["tie_word_embeddings"] = config().tied;
    read();
  }
  if (const std::string found = checkpoint::difference(config(), model.config); !found.empty())
    throw Error(ErrorKind::unsupported,
                concat(path, ": as it was read, and as it would be read again, differ: ", found))
        .in(path);
  return json;
}

ConvertReport Converter::to_safetensors() {
  checkpoint::FamilyModel model;
  Json json = hf_json(model);
  std::vector<WrittenTensor> tensors = list(model.stored, "the family");
  set_changes(tensors, config(), model.config);
  choose_safetensors_types(tensors);
  if (!is_mote())
    json[json.contains("torch_dtype") ? "torch_dtype" : "dtype"] =
        transformers_name(usual_type(tensors));

  StagedFolder staged(out_);
  checkpoint::ModelWriter writer(
      staged.path(), specs_of(tensors), kMostShardBytes,
      is_mote() ? checkpoint::Padding::to_64 : checkpoint::Padding::none);
  write(tensors, writer);
  write_text_files(model_, config(), staged.path(), json);
  write_file(staged.path() / kConfigFile, json_text(json, 2) + "\n");
  writer.commit();
  staged.commit();
  return {static_cast<std::int64_t>(tensors.size()), bytes_on_disk(out_)};
}

// The number that files have for what most of their tensors are.
std::uint32_t file_type(Dtype dtype) {
  constexpr std::pair<Dtype, std::uint32_t> kTypes[] = {
      {Dtype::f32, 0},   {Dtype::f16, 1},    {Dtype::q4_0, 2},   {Dtype::q4_1, 3},
      {Dtype::q8_0, 7},  {Dtype::q5_0, 8},   {Dtype::q5_1, 9},   {Dtype::q2_k, 10},
      {Dtype::q3_k, 12}, {Dtype::q4_k, 15},  {Dtype::q5_k, 17},  {Dtype::q6_k, 18},
      {Dtype::bf16, 32}, {Dtype::tq1_0, 36}, {Dtype::tq2_0, 37}, {Dtype::mxfp4, 38}};
  for (const auto& [type, number] : kTypes)
    if (type == dtype) return number;
  return 0;
}

// llama.cpp wants experts in every layer of the architectures that are written.
void warn_of_dense_layers(const ModelConfig& config) {
  std::int64_t mixtures = 0;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const checkpoint::LayerConfig layer = layer_config(config, i);
    mixtures += layer.feed_forward.get_if<checkpoint::Mixture>() ? 1 : 0;
  }
  if (mixtures > 0 && mixtures < config.layers)
    log::warn(concat(config.layers - mixtures, " of ", config.layers,
                     " layers have no experts; mote reads such a file, llama.cpp does not"));
}

ConvertReport Converter::to_gguf() {
  std::vector<checkpoint::TensorSpec> named;
  for (const Parameter& p : parameters_)
    if (std::string name = checkpoint::gguf_name(p.name); !name.empty())
      named.push_back({std::move(name), Dtype::f32, p.shape});
  checkpoint::GgufForm form =
      checkpoint::gguf_form(source_.saved().family, config(), named, model_);
  warn_of_dense_layers(config());
  std::vector<WrittenTensor> tensors = list(form.model.stored, "GGUF");
  set_changes(tensors, config(), form.model.config);
  choose_gguf_types(tensors);

  form.keys.add("general.file_type", file_type(usual_type(tensors)));
  form.keys.add("general.quantization_version", std::uint32_t{2});
  add_text_keys(model_, config(), form.keys);
  std::vector<checkpoint::TensorSpec> specs = specs_of(tensors);
  const std::vector<float>& divisors = form.rotary_divisors;
  if (!divisors.empty())
    specs.push_back({checkpoint::kGgufRotaryDivisors,
                     Dtype::f32,
                     {static_cast<std::int64_t>(divisors.size())}});
  checkpoint::GgufWriter writer(out_, form.keys, specs);
  write(tensors, writer);
  if (!divisors.empty())
    writer.write(checkpoint::kGgufRotaryDivisors, std::as_bytes(std::span(divisors)));
  writer.commit();
  return {static_cast<std::int64_t>(specs.size()), bytes_on_disk(out_)};
}

}  // namespace

ConvertReport convert(const fs::path& model, const fs::path& out, const ConvertOptions& options,
                      const Executor& executor) {
  std::error_code ignored;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::system, concat(out.string(), ": ", what)).in(out.string());
  };
  if (fs::equivalent(model, out, ignored))
    refuse("is the model that is to be converted; give another name");
  const Dtype dtype = options.dtype.value_or(Dtype::f32);
  if (options.to == Format::safetensors) {
    MOTE_CHECK(in_safetensors(dtype), "safetensors have no ", name(dtype));
    check_folder_is_free(out);
    return Converter(model, out, options, executor).to_safetensors();
  }
  if (out.extension() != ".gguf") refuse("is no name of a GGUF file; let it end with .gguf");
  if (fs::exists(out, ignored)) refuse("is there already; remove it or give another name");
  return Converter(model, out, options, executor).to_gguf();
}

}  // namespace mote::model
