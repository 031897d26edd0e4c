#include "model/convert/parameter_rows.h"

#include "model/packed_weight.h"

namespace mote::model {
namespace {

// Nothing where a parameter is not in one tensor of numbers or blocks.
std::optional<checkpoint::Dtype> stored_type(const Parameter& p, const ModelSource& source) {
  const checkpoint::StoredTensor where = source.saved().stored(p.name);
  if (where.layout.mxfp4) return std::nullopt;
  const std::string name =
      checkpoint::has_experts(where.name) ? checkpoint::name_of_expert(where.name, 0) : where.name;
  if (!source.tensors().has(name)) return std::nullopt;
  return source.tensors().at(name).dtype;
}

}  // namespace

ParameterRows::ParameterRows(const Parameter& p, const ModelSource& source,
                             const Executor& executor) {
  const auto axes = static_cast<std::int64_t>(p.shape.size());
  if (axes > 0) (axes > 1 ? columns_ : rows_) = p.shape.back();
  if (axes > 1) rows_ = p.shape[static_cast<std::size_t>(axes - 2)];
  for (std::int64_t i = 0; i + 2 < axes; ++i) matrices_ *= p.shape[static_cast<std::size_t>(i)];

  if (p.role == Role::matrix) {
    weight_ = source.matrix(p, executor);
    packed_ = packed_parts(*weight_);
    pieces_ = weight_->pieces();
  } else if (p.role == Role::table) {
    pieces_ = {source.table(p)->values()};
  } else {
    pieces_ = {source.tensor(p)};
  }
  if (pieces_.size() == 1) pieces_.front() = pieces_.front().view({matrices_, rows_, columns_});
  stored_ = stored_type(p, source);
}

Tensor ParameterRows::read(std::int64_t matrix, std::int64_t first, std::int64_t count,
                           const std::vector<std::int64_t>& order) const {
  const auto row = [&](std::int64_t i) {
    return order.empty() ? first + i : order[static_cast<std::size_t>(first + i)];
  };
  if (packed_) {
    Tensor x = torch::empty({count, columns_}, torch::kFloat32);
    float* to = x.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < count; ++i, to += columns_)
      packed_->coder->decode_row(*packed_, matrix, row(i), to);
    return x;
  }
  const Tensor whole =
      pieces_.size() == 1 ? pieces_.front()[matrix] : pieces_[static_cast<std::size_t>(matrix)];
  if (order.empty()) return whole.narrow(0, first, count).to(torch::kFloat32).contiguous();
  const Tensor ids = torch::tensor(
      std::vector<std::int64_t>(order.begin() + first, order.begin() + first + count));
  return whole.index_select(0, ids).to(torch::kFloat32).contiguous();
}

std::span<const std::byte> ParameterRows::blocks(std::int64_t matrix, std::int64_t row) const {
  const auto& [data, count] = packed_->parts[0];
  const auto bytes = static_cast<std::size_t>(count / (matrices_ * rows_));
  return {
      static_cast<const std::byte*>(data) + static_cast<std::size_t>(matrix * rows_ + row) * bytes,
      bytes};
}

}  // namespace mote::model
