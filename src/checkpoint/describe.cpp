#include "checkpoint/describe.h"

#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_pickle.h"

namespace mote::checkpoint {
namespace {

constexpr std::size_t kMostElements = 8;

Json metadata_of(const TensorSource& source) {
  Json metadata = Json::object();
  if (const auto* gguf = dynamic_cast<const GgufFile*>(&source))
    for (const auto& [key, value] : gguf->keys().all())
      metadata[key] = to_json(value, kMostElements);
  if (const auto* file = dynamic_cast<const SafetensorsFile*>(&source))
    for (const auto& [key, value] : file->metadata()) metadata[key] = value;
  if (const auto* pickle = dynamic_cast<const TorchPickleFile*>(&source))
    for (const auto& [key, value] : pickle->values()) metadata[key] = value;
  return metadata;
}

Json tensor_facts(const std::string& tensor, const Tensor& is) {
  return {{"name", tensor},
          {"shape", is.shape},
          {"dtype", name(is.dtype)},
          {"bytes", is.bytes.size()},
          {"bits_per_weight", bits_per_element(is.dtype)}};
}

}  // namespace

Json describe(const TensorSource& source, bool tensors) {
  std::map<std::string, std::int64_t> elements;
  std::int64_t total = 0;
  std::uint64_t bytes = 0, on_disk = 0;
  Json list = Json::array();
  for (const auto& [tensor, is] : source.tensors()) {
    elements[name(is.dtype)] += is.num_elements();
    total += is.num_elements();
    bytes += is.bytes.size();
    if (tensors) list.push_back(tensor_facts(tensor, is));
  }
  for (const fs::path& file : source.files()) on_disk += fs::file_size(file);

  Json facts = {{"format", source.format()}, {"parameters", {{"total", total}}}};
  const Json metadata = metadata_of(source);
  if (const auto family = metadata.find("general.architecture"); family != metadata.end())
    facts["family"] = *family;
  if (!elements.empty())
    facts["dtype"] = elements.size() == 1 ? elements.begin()->first : std::string("mixed");
  facts["dtypes"] = elements;
  facts["bytes"] = on_disk;
  if (total > 0)
    facts["bits_per_weight"] = 8 * static_cast<double>(bytes) / static_cast<double>(total);
  if (!metadata.empty()) facts["metadata"] = metadata;
  if (tensors) facts["tensors"] = list;
  return facts;
}

}  // namespace mote::checkpoint
