#include "model/model_source.h"

#include "base/check.h"
#include "base/json_text.h"
#include "base/process.h"
#include "checkpoint/qmoe.h"
#include "model/packed_weight.h"

namespace mote::model {
namespace {

constexpr const char* kConfigFile = "config.json";

SavedConfig saved_config(std::string family, checkpoint::FamilyModel read) {
  SavedConfig saved;
  saved.family = std::move(family);
  saved.model = std::move(read.config);
  saved.stored = std::move(read.stored);
  saved.ignored = std::move(read.ignored);
  return saved;
}

}  // namespace

const checkpoint::GgufFile* gguf_in(const fs::path& path,
                                    std::shared_ptr<const checkpoint::TensorSource>& tensors) {
  if (fs::is_directory(path) && fs::exists(path / kConfigFile)) return nullptr;
  if (!tensors) tensors = checkpoint::open_tensors(path);
  return dynamic_cast<const checkpoint::GgufFile*>(tensors.get());
}

const checkpoint::Family& family_in(const fs::path& folder) {
  const std::string path = (folder / kConfigFile).string();
  return checkpoint::family_of(read_json_object(path), path);
}

SavedConfig read_config_of(const fs::path& folder,
                           std::shared_ptr<const checkpoint::TensorSource>& tensors) {
  if (const auto* gguf = gguf_in(folder, tensors))
    return saved_config(std::string(gguf->keys().text("general.architecture")),
                        checkpoint::read_gguf_model(*gguf));
  const std::string path = (folder / kConfigFile).string();
  Json json = read_json_object(path);
  const checkpoint::Family& family = checkpoint::family_of(json, path);
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

namespace {

// Fills `tensors`, which the config may have opened already.
SavedConfig opened(const fs::path& folder,
                   std::shared_ptr<const checkpoint::TensorSource>& tensors) {
  SavedConfig saved = read_config_of(folder, tensors);
  if (!tensors) tensors = checkpoint::open_tensors(folder);
  return saved;
}

}  // namespace

ModelSource::ModelSource(const fs::path& folder) : saved_(opened(folder, owner_)), used_(*owner_) {}

const std::vector<checkpoint::PackedTensor>& ModelSource::packed() const {
  static const std::vector<checkpoint::PackedTensor> none;
  return saved_.quantization ? saved_.quantization->tensors : none;
}

void ModelSource::check_all_used() const {
  const std::string config = (used_.path().parent_path() / kConfigFile).string();
  for (const checkpoint::PackedTensor& t : packed())
    if (!used_packed_.contains(t.name))
      throw_config_error({config, "quantization_config.tensors"},
                         concat("lists '", t.name, "', which is no matrix of the model"));
  used_.check_all_used(saved_.ignored);
}

WeightPtr ModelSource::matrix(const Parameter& p, const Executor& executor) const {
  stop_if_interrupted();  // packed parts are read whole, to check them
  for (const checkpoint::PackedTensor& t : packed())
    if (t.name == p.name) return packed_matrix(p, t, executor);
  const checkpoint::StoredTensor stored = saved_.stored(p.name);
  if (checkpoint::is_qmoe_stack(used_, stored)) return of_qmoe(p, stored, executor);
  if (checkpoint::has_experts(stored.name))
    return make_stack_of(stored_matrices(p, stored, used_, owner_));
  const kernels::Coder* coder =
      used_.has(stored.name) ? kernels::find_coder(checkpoint::name(used_.at(stored.name).dtype))
                             : nullptr;
  return coder ? in_blocks(p, stored.name, *coder, executor)
               : make_dense_weight(stored_tensor(p, stored, used_, owner_));
}

WeightPtr ModelSource::packed_matrix(const Parameter& p, const checkpoint::PackedTensor& t,
                                     const Executor& executor) const {
  used_packed_.insert(t.name);
  const WeightShape wanted = weight_shape(p);
  const WeightShape found{t.experts, t.out, t.in, wanted.stacked || t.experts != 1};
  if (found != wanted)
    throw_shape(used_.path().string(), p.name, to_string(wanted), to_string(found));
  const checkpoint::LoadedTensor loaded =
      checkpoint::packed_in(used_, t, saved_.quantization->format_version, executor);
  std::shared_ptr<const void> owner = owner_;
  if (loaded.converted) owner = loaded.converted;
  return make_packed_weight(loaded.w, std::move(owner), p.name, wanted.stacked);
}

// Rows of blocks as they lie in the file.
WeightPtr ModelSource::in_blocks(const Parameter& p, const std::string& name,
                                 const kernels::Coder& coder, const Executor& executor) const {
  const checkpoint::Tensor& stored = used_.at(name);
  if (stored.shape != p.shape)
    throw_shape(used_.path().string(), name, checkpoint::in_brackets(p.shape),
                checkpoint::in_brackets(stored.shape));
  const WeightShape shape = weight_shape(p);
  kernels::PackedMatrices w{&coder, {shape.experts, shape.out, shape.in}, {}};
  w.parts[0] = {stored.bytes.data(), static_cast<kernels::Index>(stored.bytes.size())};
  kernels::validate(w, concat(used_.path().string(), ": ", name), executor);
  return make_packed_weight(w, owner_, p.name, shape.stacked);
}

WeightPtr ModelSource::of_qmoe(const Parameter& p, const checkpoint::StoredTensor& stored,
                               const Executor& executor) const {
  const WeightShape shape = weight_shape(p);
  const auto stack =
      checkpoint::read_qmoe_stack(used_, stored, {shape.experts, shape.out, shape.in}, executor);
  return make_packed_weight(stack->view(), stack, p.name, shape.stacked);
}

Tensor ModelSource::find(const Parameter& p) const {
  return stored_tensor(p, saved_.stored(p.name), used_, owner_);
}

Tensor ModelSource::tensor(const Parameter& p) const {
  return find(p).to(torch::kFloat32);
}

RowTablePtr ModelSource::table(const Parameter& p) const {
  const Tensor stored = find(p).detach();
  const bool bf16 = stored.scalar_type() == torch::kBFloat16;
  return std::make_shared<RowTable>(p.name, bf16 ? stored : stored.to(torch::kFloat32));
}

}  // namespace mote::model
