// Parameters where a model's files have them, as their family says (checkpoint/names.h).
#pragma once

#include <memory>

#include "checkpoint/names.h"
#include "checkpoint/tensor_source.h"
#include "model/parameters.h"

namespace mote::model {

// A tensor's type, bytes and shape, for writing.
checkpoint::Dtype dtype_of(torch::ScalarType type);
std::span<const std::byte> bytes_of(const Tensor& contiguous);
std::vector<std::int64_t> shape_of(const Tensor& x);

// A tensor over memory that `owner` keeps alive, or a copy where it is not aligned.
Tensor tensor_over(const checkpoint::Tensor& stored, std::shared_ptr<const void> owner,
                   const std::string& name, const std::string& file);

// What a parameter's tensor has in the file.
std::vector<std::int64_t> shape_in_file(std::vector<std::int64_t> shape,
                                        const checkpoint::StoredLayout& layout);

[[noreturn]] void throw_shape(const std::string& file, const std::string& name,
                              const std::string& wanted, const std::string& found);

// The parameter in one tensor. It lies in the files unless a layout makes that impossible: elements of
// a row apart, MXFP4 (which becomes bfloat16, exactly). Throws a file error that names the tensor where
// it is missing or has another shape.
Tensor stored_tensor(const Parameter& parameter, const checkpoint::StoredTensor& where,
                     const checkpoint::TensorSource& files, std::shared_ptr<const void> owner);

// The matrices of a stack that has a tensor for each expert.
std::vector<Tensor> stored_matrices(const Parameter& stack, const checkpoint::StoredTensor& where,
                                    const checkpoint::TensorSource& files,
                                    const std::shared_ptr<const void>& owner);

}  // namespace mote::model
