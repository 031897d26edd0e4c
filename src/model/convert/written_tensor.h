// The tensors that a model is written as: parameters under the names and in the layouts of a family
// (checkpoint/names.h).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/names.h"
#include "checkpoint/tensor_writer.h"
#include "model/convert/parameter_rows.h"
#include "model/convert/weight_change.h"

namespace mote::model {

// One tensor of the new files: a parameter, the matrix of one expert, or parts that are merged.
struct WrittenTensor {
  struct Part {
    Parameter parameter;
    checkpoint::StoredLayout layout;
    WeightChange change;
  };
  checkpoint::TensorSpec spec;
  std::vector<Part> parts;
  std::int64_t expert = -1;  // -1: all

  // Whether rows of the parameter are rows of the tensor, in their order or another.
  bool has_rows() const { return parts.size() == 1 && !parts.front().layout.transposed; }
};

using NamesOf = std::function<checkpoint::StoredTensor(const std::string& parameter)>;
using ChangeOf = std::function<WeightChange(const std::string& parameter)>;

// Of all parameters, in their order; types are not yet chosen. Throws an unsupported error that names the
// first parameter for which `format` has no name.
std::vector<WrittenTensor> written_tensors(const std::vector<Parameter>& parameters,
                                           const NamesOf& names, const std::string& format,
                                           const std::string& file);

// Reads the parameters of written tensors, one tensor after another.
class TensorReader {
 public:
  TensorReader(const ModelSource& source, const Executor& executor)
      : source_(source), executor_(executor) {}

  const ParameterRows& rows(const Parameter& parameter);
  // The values in the order of the tensor, float32, a part at a time; false from `take` ends it.
  using Take = std::function<bool(const Tensor& values)>;
  void values(const WrittenTensor& tensor, const Take& take);
  // The bytes as spec.dtype has them. Throws an error that names the tensor for values that the type
  // cannot hold.
  void bytes(const WrittenTensor& tensor,
             const std::function<void(std::span<const std::byte>)>& take);
  // Whether all values are such that `dtype` holds them exactly.
  bool holds(const WrittenTensor& tensor, checkpoint::Dtype dtype);

 private:
  void merged(const WrittenTensor& tensor, const Take& take);

  const ModelSource& source_;
  const Executor& executor_;
  std::vector<std::pair<std::string, std::unique_ptr<ParameterRows>>> open_;  // the last few
};

}  // namespace mote::model
