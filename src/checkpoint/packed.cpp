#include "checkpoint/packed.h"

#include <xxhash.h>
#include <cstdio>

namespace mote::checkpoint {
namespace {

using kernels::Index;
using kernels::Q16Experts;
using kernels::TwoBitExperts;

constexpr std::int64_t kFormatVersion = 1;

template <class T>
std::span<const std::byte> bytes_at(const T* data, Index count) {
  return std::as_bytes(std::span<const T>(data, static_cast<std::size_t>(count)));
}

// The part `name` of a packed tensor, whose shape must be `shape` (-1: any).
template <class T>
const T* part(const TensorSource& file, const std::string& name, Dtype dtype,
              std::vector<std::int64_t> shape, Index* length = nullptr) {
  const Tensor& stored = file.at(name);
  const std::string path = file.path().string();
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::file, concat(path, ": part '", name, "' ", what)).in(path).at(name);
  };
  if (stored.dtype != dtype)
    refuse(concat("has type ", checkpoint::name(stored.dtype), ", a packed tensor needs ",
                  checkpoint::name(dtype)));
  bool fits = stored.shape.size() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] < 0 || shape[i] == stored.shape[i];
  if (!fits) {
    std::string found, wanted;
    for (const std::int64_t n : stored.shape) found += concat(" ", n);
    for (const std::int64_t n : shape) wanted += n < 0 ? " any" : concat(" ", n);
    refuse(concat("has shape", found, ", config.json says", wanted));
  }
  if (reinterpret_cast<std::uintptr_t>(stored.bytes.data()) % alignof(T) != 0)
    refuse(concat("starts at an address that is no multiple of ", alignof(T),
                  "; write the file again with mote"));
  if (length) *length = stored.shape[0];
  return reinterpret_cast<const T*>(stored.bytes.data());
}

Index groups_of(const PackedTensor& t) {
  const Index group = kernels::q16_group_rows(t.in);
  return (t.out + group - 1) / group;
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
  fields_from_json(json, q, place);
  check_complete<Quantization>(json, place);
  if (q.group_size != -1)
    throw_config_error(place.inside("group_size"),
                       concat("is ", q.group_size, "; this program reads -1, a grid per row"));
  if (q.activation_precision != "float32")
    throw_config_error(place.inside("activation_precision"),
                       concat("is '", q.activation_precision, "'; this program runs float32"));
  return q;
}

TwoBitExperts TwoBitEncoded::view() const {
  const Index bytes = (columns + 3) / 4;
  return {columns, kernels::view(codes.data(), experts, rows, bytes),
          kernels::view(scales.data(), experts, rows), kernels::view(zeros.data(), experts, rows)};
}

std::vector<TensorSpec> part_specs(const std::string& name, const Q16Experts& w) {
  return {{name + ".codes", Dtype::u16, {w.codes_N.size(0)}},
          {name + ".offsets", Dtype::u64, {w.experts() + 1}},
          {name + ".row_base", Dtype::u32, {w.experts(), w.row_base_EG.size(1)}},
          {name + ".row_start", Dtype::u16, {w.experts(), w.rows()}},
          {name + ".levels", Dtype::bf16, {w.experts(), w.rows(), 2}}};
}

void write_parts(ModelWriter& writer, const std::string& name, const Q16Experts& w) {
  const Index experts = w.experts(), rows = w.rows();
  writer.write(name + ".codes", bytes_at(w.codes_N.data, w.codes_N.size(0)));
  writer.write(name + ".offsets", bytes_at(w.offsets_E1.data, experts + 1));
  writer.write(name + ".row_base", bytes_at(w.row_base_EG.data, experts * w.row_base_EG.size(1)));
  writer.write(name + ".row_start", bytes_at(w.row_start_ER.data, experts * rows));
  writer.write(name + ".levels", bytes_at(w.levels_ER2.data, experts * rows * 2));
}

std::vector<TensorSpec> part_specs(const std::string& name, const TwoBitExperts& w) {
  return {{name + ".codes", Dtype::u8, {w.experts(), w.rows(), w.codes_ERB.size(2)}},
          {name + ".scales", Dtype::bf16, {w.experts(), w.rows()}},
          {name + ".zeros", Dtype::u8, {w.experts(), w.rows()}}};
}

void write_parts(ModelWriter& writer, const std::string& name, const TwoBitExperts& w) {
  const Index rows = w.experts() * w.rows();
  writer.write(name + ".codes", bytes_at(w.codes_ERB.data, rows * w.codes_ERB.size(2)));
  writer.write(name + ".scales", bytes_at(w.scales_ER.data, rows));
  writer.write(name + ".zeros", bytes_at(w.zeros_ER.data, rows));
}

Q16Experts q16_in(const TensorSource& file, const PackedTensor& t, const Executor& executor) {
  const std::string& n = t.name;
  Q16Experts w;
  w.columns = t.in;
  Index codes = 0;
  const auto* data = part<std::uint16_t>(file, n + ".codes", Dtype::u16, {-1}, &codes);
  w.codes_N = kernels::view(data, codes);
  w.offsets_E1 = kernels::view(
      part<std::uint64_t>(file, n + ".offsets", Dtype::u64, {t.experts + 1}), t.experts + 1);
  w.row_base_EG = kernels::view(
      part<std::uint32_t>(file, n + ".row_base", Dtype::u32, {t.experts, groups_of(t)}), t.experts,
      groups_of(t));
  w.row_start_ER =
      kernels::view(part<std::uint16_t>(file, n + ".row_start", Dtype::u16, {t.experts, t.out}),
                    t.experts, t.out);
  w.levels_ER2 =
      kernels::view(part<kernels::Bf16>(file, n + ".levels", Dtype::bf16, {t.experts, t.out, 2}),
                    t.experts, t.out, Index{2});
  kernels::validate(w, concat(file.path().string(), ": ", n), executor);
  return w;
}

TwoBitExperts two_bit_in(const TensorSource& file, const PackedTensor& t,
                         const Executor& executor) {
  const std::string& n = t.name;
  const Index bytes = (t.in + 3) / 4;
  TwoBitExperts w;
  w.columns = t.in;
  w.codes_ERB =
      kernels::view(part<std::uint8_t>(file, n + ".codes", Dtype::u8, {t.experts, t.out, bytes}),
                    t.experts, t.out, bytes);
  w.scales_ER = kernels::view(
      part<kernels::Bf16>(file, n + ".scales", Dtype::bf16, {t.experts, t.out}), t.experts, t.out);
  w.zeros_ER = kernels::view(part<std::uint8_t>(file, n + ".zeros", Dtype::u8, {t.experts, t.out}),
                             t.experts, t.out);
  kernels::validate(w, concat(file.path().string(), ": ", n), executor);
  return w;
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
