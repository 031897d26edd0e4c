#include "checkpoint/packed.h"

#include <xxhash.h>
#include <algorithm>
#include <cstdio>
#include <set>

#include "base/nearest.h"

namespace mote::checkpoint {
namespace {

using kernels::Index;
using kernels::PackedMatrices;
using kernels::PartSpec;
using kernels::PartType;

Dtype dtype_of(PartType type) {
  switch (type) {
    case PartType::u8:
      return Dtype::u8;
    case PartType::u16:
      return Dtype::u16;
    case PartType::u32:
      return Dtype::u32;
    case PartType::u64:
      return Dtype::u64;
    case PartType::bf16:
      return Dtype::bf16;
  }
  return Dtype::u8;
}

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t n : shape) text += n == kernels::kAnyLength ? " any" : concat(" ", n);
  return text;
}

// A part where it lies in the file, if its type and shape are those of the list.
PackedMatrices::Part part_in(const TensorSource& file, const std::string& name,
                             const PartSpec& spec, const kernels::StackShape& of) {
  const Tensor& stored = file.at(name);
  const std::string path = file.path().string();
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::file, concat(path, ": part '", name, "' ", what)).in(path).at(name);
  };
  if (stored.dtype != dtype_of(spec.type))
    refuse(concat("has type ", checkpoint::name(stored.dtype), ", a packed tensor needs ",
                  checkpoint::name(dtype_of(spec.type))));
  const std::vector<std::int64_t> shape = spec.shape(of);
  bool fits = stored.shape.size() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] == kernels::kAnyLength || shape[i] == stored.shape[i];
  if (!fits)
    refuse(concat("has shape", text_of(stored.shape), ", config.json says", text_of(shape)));
  const auto alignment = static_cast<std::uintptr_t>(kernels::bytes_per_element(spec.type));
  if (reinterpret_cast<std::uintptr_t>(stored.bytes.data()) % alignment != 0)
    refuse(concat("starts at an address that is no multiple of ", alignment,
                  "; write the file again with mote"));
  return {stored.bytes.data(), stored.num_elements()};
}

void check_coder(const PackedTensor& tensor, const Place& place) {
  if (kernels::find_coder(tensor.coder)) return;
  std::vector<std::string> known;
  for (const kernels::Coder* coder : kernels::coders()) known.push_back(coder->name);
  std::string list;
  for (const std::string& each : known) list += (list.empty() ? "" : ", ") + each;
  throw_config_error(place.inside("coder"), concat("is '", tensor.coder, "', not one of ", list,
                                                   did_you_mean(tensor.coder, known)));
}

// What versions before did not say: nothing.
Json with_fields_of_3(Json json) {
  if (const auto made = json.find("made_from"); made != json.end() && made->is_object())
    made->update({{"validation", ""}, {"validation_bytes", 0}});
  return json;
}

}  // namespace

Quantization read_quantization(const Json& json, const std::string& file) {
  const auto method = json.find("quant_method");
  if (method == json.end() || *method != "mote")
    throw Error(ErrorKind::unsupported,
                concat(file, ": quantization_config.quant_method is ",
                       method == json.end() ? "missing" : quoted(*method), ", only 'mote' is read"))
        .in(file)
        .at("quantization_config.quant_method");
  const auto version = json.find("format_version");
  if (version == json.end() || !version->is_number_integer() || *version < 1 ||
      *version > kFormatVersion)
    throw Error(ErrorKind::unsupported, concat(file, ": quantization_config.format_version is ",
                                               version == json.end() ? "missing" : quoted(*version),
                                               ", this program reads up to ", kFormatVersion,
                                               "; use the program that wrote it or a newer one"))
        .in(file)
        .at("quantization_config.format_version");
  Quantization q;
  const Place place{file, "quantization_config"};
  const Json complete = *version < 3 ? with_fields_of_3(json) : json;
  fields_from_json(complete, q, place);
  check_complete<Quantization>(complete, place);
  if (q.group_size != -1)
    throw_config_error(place.inside("group_size"),
                       concat("is ", q.group_size, "; this program reads -1, a grid per row"));
  if (q.activation_precision != "float32")
    throw_config_error(place.inside("activation_precision"),
                       concat("is '", q.activation_precision, "'; this program runs float32"));
  std::set<std::string> names;
  for (const PackedTensor& tensor : q.tensors) {
    check_coder(tensor, place.inside("tensors"));
    if (!names.insert(tensor.name).second)
      throw_config_error(place.inside("tensors"), concat("lists '", tensor.name, "' twice"));
  }
  return q;
}

std::vector<TensorSpec> part_specs(const std::string& name, const PackedMatrices& w) {
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < w.coder->parts.size(); ++i) {
    const PartSpec& part = w.coder->parts[i];
    std::vector<std::int64_t> shape = part.shape(w.shape);
    std::replace(shape.begin(), shape.end(), kernels::kAnyLength, w.parts[i].count);
    specs.push_back({concat(name, ".", part.name), dtype_of(part.type), std::move(shape)});
  }
  return specs;
}

void write_parts(ModelWriter& writer, const std::string& name, const PackedMatrices& w) {
  for (std::size_t i = 0; i < w.coder->parts.size(); ++i) {
    const PartSpec& part = w.coder->parts[i];
    const Index bytes = w.parts[i].count * kernels::bytes_per_element(part.type);
    writer.write(concat(name, ".", part.name),
                 {static_cast<const std::byte*>(w.parts[i].data), static_cast<std::size_t>(bytes)});
  }
}

LoadedTensor packed_in(const TensorSource& file, const PackedTensor& t, std::int64_t format_version,
                       const Executor& executor) {
  LoadedTensor loaded;
  loaded.w.coder = kernels::find_coder(t.coder);
  loaded.w.shape = {t.experts, t.out, t.in};
  const kernels::FirstForm* first = format_version == 1 ? loaded.w.coder->first_form : nullptr;
  const std::span<const PartSpec> parts = first ? first->parts : loaded.w.coder->parts;
  for (std::size_t i = 0; i < parts.size(); ++i)
    loaded.w.parts[i] = part_in(file, concat(t.name, ".", parts[i].name), parts[i], loaded.w.shape);
  const std::string name = concat(file.path().string(), ": ", t.name);
  if (first) {
    loaded.converted = std::make_shared<const kernels::PackedStack>(first->convert(loaded.w, name));
    loaded.w = loaded.converted->view();
  }
  kernels::validate(loaded.w, name, executor);
  return loaded;
}

std::string xxh64(std::string_view bytes) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(XXH64(bytes.data(), bytes.size(), 0)));
  return text;
}

std::string xxh64_of_file(const fs::path& path) {
  const MappedFile file(path);
  return xxh64({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

}  // namespace mote::checkpoint
