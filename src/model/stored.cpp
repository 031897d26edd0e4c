#include "model/stored.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/packed/blocks/blocks.h"
#include "model/ops/bridge.h"

namespace mote::model {
namespace {

using checkpoint::Dtype;
using checkpoint::StoredLayout;

// What a plain tensor is called in torch and in a file.
struct Element {
  Dtype dtype;
  torch::ScalarType type;
};
constexpr Element kElements[] = {
    {Dtype::f32, torch::kFloat32}, {Dtype::bf16, torch::kBFloat16}, {Dtype::f16, torch::kFloat16}};

std::int64_t group_of(const StoredLayout& layout, const std::vector<std::int64_t>& shape) {
  return layout.group > 0 ? layout.group : shape[static_cast<std::size_t>(layout.axis)];
}

// Blocks of 32 numbers, the codes [experts, rows, blocks, 16] apart from the scales.
Tensor mxfp4_tensor(const Parameter& p, const checkpoint::StoredTensor& where,
                    const checkpoint::TensorSource& files) {
  const auto& [name, layout] = where;
  const std::string file = files.path().string(), codes_name = name + "_blocks",
                    scales_name = name + "_scales";
  const checkpoint::Tensor &codes = files.at(codes_name), &scales = files.at(scales_name);
  MOTE_CHECK(p.shape.size() == 3 && layout.axis == 1 && !layout.transposed,
             "MXFP4 is of stacks, merged by rows");
  const std::int64_t experts = p.shape[0], rows = p.shape[1] * layout.parts, columns = p.shape[2],
                     blocks = columns / 32, group = group_of(layout, p.shape);
  const auto check_shape = [&](const checkpoint::Tensor& found, const std::string& called,
                               const std::vector<std::int64_t>& wanted) {
    if (found.shape != wanted || columns % 32 != 0)
      throw_shape(file, called, checkpoint::in_brackets(wanted),
                  checkpoint::in_brackets(found.shape));
    if (found.dtype != Dtype::u8)
      throw Error(ErrorKind::unsupported, concat(file, ": tensor '", called, "' is ",
                                                 checkpoint::name(found.dtype), "; U8 is read"))
          .in(file)
          .at(called);
  };
  check_shape(codes, codes_name, {experts, rows, blocks, 16});
  check_shape(scales, scales_name, {experts, rows, blocks});
  const kernels::BlockType& type = *kernels::find_block_type("MXFP4");
  Tensor x = torch::empty(p.shape, torch::kBFloat16);
  auto* to = static_cast<std::uint16_t*>(x.mutable_data_ptr());
  std::vector<std::byte> row(static_cast<std::size_t>(blocks * type.bytes));
  std::vector<float> values(static_cast<std::size_t>(columns));
  for (std::int64_t e = 0; e < experts; ++e)
    for (std::int64_t o = 0; o < p.shape[1]; ++o) {
      const std::int64_t stored = (o / group * layout.parts + layout.part) * group + o % group;
      const auto first = static_cast<std::size_t>((e * rows + stored) * blocks),
                 count = static_cast<std::size_t>(blocks);
      kernels::mxfp4_from_pairs(codes.bytes.subspan(first * 16, count * 16),
                                scales.bytes.subspan(first, count), row);
      kernels::decode_blocks(type, row, values);
      to = std::transform(values.begin(), values.end(), to, kernels::to_bf16);
    }
  return x;
}

}  // namespace

std::vector<std::int64_t> shape_in_file(std::vector<std::int64_t> shape,
                                        const StoredLayout& layout) {
  shape[static_cast<std::size_t>(layout.axis)] *= layout.parts;
  if (layout.transposed) std::iter_swap(shape.end() - 1, shape.end() - 2);
  if (layout.flat) shape.erase(shape.begin());
  return shape;
}

std::span<const std::byte> bytes_of(const Tensor& contiguous) {
  return {static_cast<const std::byte*>(contiguous.const_data_ptr()), contiguous.nbytes()};
}

Dtype dtype_of(torch::ScalarType type) {
  for (const Element& e : kElements)
    if (e.type == type) return e.dtype;
  throw Error(ErrorKind::unsupported,
              concat("a tensor of ", torch::toString(type), " is not written"));
}

std::vector<std::int64_t> shape_of(const Tensor& x) {
  return x.sizes().vec();
}

void throw_shape(const std::string& file, const std::string& name, const std::string& wanted,
                 const std::string& found) {
  throw Error(ErrorKind::file,
              concat(file, ": tensor '", name, "' has shape ", found, ", the model's config says ",
                     wanted, "; they do not belong together"))
      .in(file)
      .at(name);
}

Tensor tensor_over(const checkpoint::Tensor& stored, std::shared_ptr<const void> owner,
                   const std::string& name, const std::string& file) {
  const auto* element = std::find_if(std::begin(kElements), std::end(kElements),
                                     [&](const Element& e) { return e.dtype == stored.dtype; });
  if (element == std::end(kElements))
    throw Error(ErrorKind::unsupported,
                concat(file, ": tensor '", name, "' is ", checkpoint::name(stored.dtype),
                       "; F32, BF16 and F16 are read"))
        .in(file)
        .at(name);
  const auto address = reinterpret_cast<std::uintptr_t>(stored.bytes.data());
  auto* data = const_cast<std::byte*>(stored.bytes.data());
  if (address % checkpoint::bytes_per_element(stored.dtype) == 0)
    return torch::from_blob(
        data, stored.shape, [owner](void*) {}, element->type);
  Tensor copy = torch::empty(stored.shape, element->type);
  std::memcpy(copy.mutable_data_ptr(), data, stored.bytes.size());
  return copy;
}

Tensor stored_tensor(const Parameter& p, const checkpoint::StoredTensor& where,
                     const checkpoint::TensorSource& files, std::shared_ptr<const void> owner) {
  const auto& [name, layout] = where;
  const std::string file = files.path().string();
  if (name.empty())
    throw Error(ErrorKind::unsupported, concat(file, ": the model needs '", p.name,
                                               "', for which this family's files have no tensor"))
        .in(file)
        .at(p.name);
  if (layout.mxfp4) return mxfp4_tensor(p, where, files);
  const checkpoint::Tensor& stored = files.at(name);
  if (const auto wanted = shape_in_file(p.shape, layout); stored.shape != wanted)
    throw_shape(file, name, checkpoint::in_brackets(wanted), checkpoint::in_brackets(stored.shape));
  Tensor x = tensor_over(stored, std::move(owner), name, file);
  if (layout.flat) x = x.view(p.shape);
  if (layout.transposed) x = x.transpose(-1, -2);
  if (layout.parts > 1) {
    const std::int64_t axis = layout.axis, size = p.shape[static_cast<std::size_t>(axis)],
                       group = group_of(layout, p.shape);
    x = x.unflatten(axis, {size / group, layout.parts, group})
            .select(axis + 1, layout.part)
            .flatten(axis, axis + 1);
  }
  return ops::unit_stride(x);
}

std::vector<Tensor> stored_matrices(const Parameter& stack, const checkpoint::StoredTensor& where,
                                    const checkpoint::TensorSource& files,
                                    const std::shared_ptr<const void>& owner) {
  std::vector<Tensor> matrices;
  Parameter matrix = stack;
  matrix.shape.erase(matrix.shape.begin());
  for (std::int64_t e = 0; e < stack.shape.front(); ++e)
    matrices.push_back(stored_tensor(
        matrix, {checkpoint::name_of_expert(where.name, e), where.layout}, files, owner));
  return matrices;
}

}  // namespace mote::model
