// The numbers of one parameter, row by row, wherever and however its files have them.
#pragma once

#include <optional>

#include "model/model_source.h"

namespace mote::model {

// A matrix is one of `rows` rows, a stack `matrices` of them; a vector is rows of one number.
class ParameterRows {
 public:
  ParameterRows(const Parameter& parameter, const ModelSource& source, const Executor& executor);

  std::int64_t matrices() const { return matrices_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  // float32 [count, columns]: rows `first` on of a matrix or, with an order, rows order[first] on.
  Tensor read(std::int64_t matrix, std::int64_t first, std::int64_t count,
              const std::vector<std::int64_t>& order = {}) const;

  // What the files have: a type of numbers or of GGUF's blocks; nothing for other packed weights.
  std::optional<checkpoint::Dtype> stored() const { return stored_; }
  // Of GGUF's blocks those of a row as they lie.
  std::span<const std::byte> blocks(std::int64_t matrix, std::int64_t row) const;
  // As Weight::storage() says.
  std::string storage() const { return weight_ ? weight_->storage() : ""; }

 private:
  WeightPtr weight_;                                 // a matrix's, and
  const kernels::PackedMatrices* packed_ = nullptr;  // its parts where it is packed;
  std::vector<Tensor> pieces_;  // else all matrices, or each: [.., rows, columns]
  std::int64_t matrices_ = 1, rows_ = 1, columns_ = 1;
  std::optional<checkpoint::Dtype> stored_;
};

}  // namespace mote::model
