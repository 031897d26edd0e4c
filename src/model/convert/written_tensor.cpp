#include "model/convert/written_tensor.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "base/process.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;
using checkpoint::StoredLayout;

constexpr std::int64_t kChunk = 1 << 22;  // numbers that are read at once
constexpr std::size_t kMostOpen = 4;      // parameters: as many as are ever merged, and more

std::span<const float> floats_of(const Tensor& x) {
  return {x.const_data_ptr<float>(), static_cast<std::size_t>(x.numel())};
}

Tensor changed(const Tensor& x, const WeightChange& change) {
  if (!change.is_of_values()) return x;
  return (((x.to(torch::kFloat64) + change.before) * change.times) - change.after)
      .to(torch::kFloat32);
}

// Parts that take turns along an axis, in groups.
Tensor joined(const std::vector<Tensor>& parts, std::int64_t axis, std::int64_t group) {
  std::vector<Tensor> apart;
  for (const Tensor& part : parts) {
    const std::int64_t size = part.size(axis);
    apart.push_back(part.unflatten(axis, {group > 0 ? size / group : 1, group > 0 ? group : size}));
  }
  return torch::stack(apart, axis + 1).flatten(axis, axis + 2);
}

[[noreturn]] void refuse_values(const WrittenTensor& tensor, const std::string& what) {
  throw Error(ErrorKind::value, concat("tensor '", tensor.spec.name, "' ", what))
      .at(tensor.spec.name);
}

std::vector<std::byte> encoded(const WrittenTensor& tensor, const Tensor& values) {
  const Dtype dtype = tensor.spec.dtype;
  if (dtype != Dtype::f32 && dtype != Dtype::bf16) {
    const double most = values.numel() == 0 ? 0.0 : values.abs().max().item<double>();
    constexpr double kMostF16 = 65504;
    if (!std::isfinite(most))
      refuse_values(tensor, concat("holds ", most, ", which ", name(dtype),
                                   " has not; leave --dtype out or choose bf16"));
    if (dtype == Dtype::f16 && most >= kMostF16 + 16)
      refuse_values(tensor, concat("holds numbers up to ", most, ", F16 up to ", kMostF16,
                                   "; choose bf16 or f32"));
  }
  return checkpoint::encoded(dtype, floats_of(values));
}

}  // namespace

std::vector<WrittenTensor> written_tensors(const std::vector<Parameter>& parameters,
                                           const NamesOf& names, const std::string& format,
                                           const std::string& file) {
  std::vector<WrittenTensor> tensors;
  std::map<std::string, std::size_t> index;
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape,
                       const Parameter& p, const StoredLayout& layout, std::int64_t expert) {
    const auto [at, is_new] = index.emplace(name, tensors.size());
    if (is_new)
      tensors.push_back({{name, Dtype::f32, shape_in_file(shape, layout)},
                         std::vector<WrittenTensor::Part>(static_cast<std::size_t>(layout.parts)),
                         expert});
    tensors[at->second].parts[static_cast<std::size_t>(layout.part)] = {p, layout, {}};
  };
  for (const Parameter& p : parameters) {
    const auto [name, layout] = names(p.name);
    if (name.empty())
      throw Error(ErrorKind::unsupported,
                  concat(file, ": ", format, " has no name for '", p.name,
                         "', which the model needs; keep it as safetensors"))
          .in(file)
          .at(p.name);
    if (!checkpoint::has_experts(name)) {
      add(name, p.shape, p, layout, -1);
      continue;
    }
    const std::vector<std::int64_t> shape(p.shape.begin() + 1, p.shape.end());
    for (std::int64_t e = 0; e < p.shape.front(); ++e)
      add(checkpoint::name_of_expert(name, e), shape, p, layout, e);
  }
  for (const WrittenTensor& tensor : tensors)
    for (const auto& part : tensor.parts)
      MOTE_CHECK(!part.parameter.name.empty(), file, ": tensor '", tensor.spec.name, "' has ",
                 tensor.parts.size(), " parts, and the model lacks one of them");
  return tensors;
}

const ParameterRows& TensorReader::rows(const Parameter& parameter) {
  for (const auto& [name, rows] : open_)
    if (name == parameter.name) return *rows;
  stop_if_interrupted();
  if (open_.size() == kMostOpen) open_.erase(open_.begin());
  open_.emplace_back(parameter.name,
                     std::make_unique<ParameterRows>(parameter, source_, executor_));
  return *open_.back().second;
}

void TensorReader::values(const WrittenTensor& tensor, const Take& take) {
  if (!tensor.has_rows()) return merged(tensor, take);
  const WrittenTensor::Part& part = tensor.parts.front();
  const ParameterRows& from = rows(part.parameter);
  const std::int64_t at_once =
      std::max<std::int64_t>(1, kChunk / std::max<std::int64_t>(1, from.columns()));
  const std::int64_t begin = std::max<std::int64_t>(tensor.expert, 0),
                     end = tensor.expert < 0 ? from.matrices() : tensor.expert + 1;
  for (std::int64_t m = begin; m < end; ++m)
    for (std::int64_t first = 0; first < from.rows(); first += at_once) {
      stop_if_interrupted();
      const std::int64_t count = std::min(at_once, from.rows() - first);
      if (!take(changed(from.read(m, first, count, part.change.order), part.change))) return;
    }
}

// A matrix of each part at a time.
void TensorReader::merged(const WrittenTensor& tensor, const Take& take) {
  const StoredLayout& layout = tensor.parts.front().layout;
  const auto axes = static_cast<std::int64_t>(tensor.parts.front().parameter.shape.size());
  const std::int64_t apart = std::max<std::int64_t>(0, axes - 2);  // axes before those of a matrix
  // Numbers of experts, as biases have them, are one matrix.
  const std::int64_t matrices = rows(tensor.parts.front().parameter).matrices();
  for (std::int64_t m = 0; m < matrices; ++m) {
    stop_if_interrupted();
    std::vector<Tensor> parts;
    for (const WrittenTensor::Part& part : tensor.parts) {
      const ParameterRows& from = rows(part.parameter);
      parts.push_back(changed(from.read(m, 0, from.rows(), part.change.order), part.change));
      if (axes == 1) parts.back() = parts.back().flatten();
    }
    Tensor x = parts.size() == 1 ? parts.front() : joined(parts, layout.axis - apart, layout.group);
    if (layout.transposed) x = x.transpose(-1, -2);
    if (!take(x.contiguous())) return;
  }
}

void TensorReader::bytes(const WrittenTensor& tensor,
                         const std::function<void(std::span<const std::byte>)>& take) {
  const WrittenTensor::Part& part = tensor.parts.front();
  if (tensor.has_rows() && !part.change.is_of_values() && !in_safetensors(tensor.spec.dtype) &&
      rows(part.parameter).stored() == tensor.spec.dtype) {
    const ParameterRows& from = rows(part.parameter);
    for (std::int64_t m = 0; m < from.matrices(); ++m)
      for (std::int64_t row = 0; row < from.rows(); ++row)
        take(from.blocks(
            m, part.change.order.empty() ? row : part.change.order[static_cast<std::size_t>(row)]));
    return;
  }
  values(tensor, [&](const Tensor& x) {
    take(encoded(tensor, x));
    return true;
  });
}

bool TensorReader::holds(const WrittenTensor& tensor, Dtype dtype) {
  bool exact = true;
  values(tensor, [&](const Tensor& x) {
    try {
      const std::vector<std::byte> bytes = checkpoint::encoded(dtype, floats_of(x));
      const checkpoint::Tensor back{dtype, x.sizes().vec(), bytes};
      const std::vector<float> values = back.floats();
      const std::span<const float> wanted = floats_of(x);
      exact = std::equal(wanted.begin(), wanted.end(), values.begin(), values.end());
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::interrupted) throw;
      exact = false;
    }
    return exact;
  });
  return exact;
}

}  // namespace mote::model
