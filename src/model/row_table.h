// A table of many rows of which a step reads and updates few: values of product-key memories, the
// neurons of a million experts. It is no autograd leaf, so that a step costs what its rows cost.
//
//   forward    the updater brings the rows asked for up to date, then ops/table_rows reads them
//   backward   appends the rows and the sums of their gradients, each row once, in rising order
// The updater is the optimiser's; without one the rows are as they lie.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/torch.h"

namespace mote::model {

class RowTable;

// What a table asks of whoever updates it: rows that were not touched for some steps may be behind.
class RowUpdater {
 public:
  virtual ~RowUpdater() = default;
  // `rows`: int64 [n], each once, rising.
  virtual void catch_up(RowTable& table, const Tensor& rows) = 0;
};

// Memory for the values or moments of a table, not yet filled: in large pages, so that rows anywhere
// in it come at the rate of memory.
Tensor table_memory(const std::vector<std::int64_t>& shape,
                    torch::ScalarType type = torch::kFloat32);

// Rows that a backward pass reached, and the sums of their gradients.
struct RowGradient {
  Tensor rows_N;  // int64, rising, each once
  Tensor grad_ND;
};

class RowTable {
 public:
  // float32 or bfloat16 [rows, width], contiguous, without gradient.
  RowTable(std::string name, Tensor values_ND);

  const std::string& name() const { return name_; }
  Tensor& values() { return values_ND_; }
  const Tensor& values() const { return values_ND_; }
  RowUpdater* updater() const { return updater_; }
  void set_updater(RowUpdater* updater) { updater_ = updater; }

  std::vector<RowGradient>& gradients() { return gradients_; }
  // All that were appended as one, which are then forgotten. Undefined tensors: none.
  RowGradient take_gradient();

 private:
  const std::string name_;
  Tensor values_ND_;
  RowUpdater* updater_ = nullptr;
  std::vector<RowGradient> gradients_;
};
using RowTablePtr = std::shared_ptr<RowTable>;

// A table of the same name and values, of its own memory.
RowTablePtr copied(const RowTable& table, torch::ScalarType type);

}  // namespace mote::model
