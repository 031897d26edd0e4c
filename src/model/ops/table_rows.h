// Products with picked rows of a RowTable (kernels/lookup/table_rows), and their gradients: those of
// the table are appended to it, each row once; nothing of size pairs * width is made.
//
//   row_dots   a[n, k] = <W[index[n, k]], x[n]>          dx[n] = sum_k da[n, k] W[index[n, k]]
//   row_sums   y[n] = sum_k weight[n, k] W[index[n, k]]  dweight[n, k] = <W[index[n, k]], dy[n]>
//              dW[i] = the sum of da x, of weight dy, over the pairs with index i
#pragma once

#include <memory>

#include "kernels/core/dtype.h"
#include "model/ops/routes.h"
#include "model/row_table.h"

namespace mote::model::ops {

// How the elements of a table, or of its moments, are stored.
kernels::Type table_type(const Tensor& values);

// Rows of a table that tokens pick: int32 [N, K]. What is sorted by row is made once, when it is first
// needed, and shared by all products with the same picks.
class RowPicks {
 public:
  // The pairs (n, k) by row; `rows_U` int64, each row that was picked once, rising.
  struct Sorted {
    Tensor rows_U, first_U1;  // row u has the pairs [first[u], first[u + 1]) of
    Tensor pair_P, token_P;   // number of each sorted pair, and its n
  };

  // Throws where an index is not in [0, table_rows).
  RowPicks(Tensor index_NK, std::int64_t table_rows);
  const Tensor& index_NK() const { return index_NK_; }
  std::int64_t table_rows() const { return table_rows_; }
  const Sorted& sorted() const;

 private:
  Tensor index_NK_;
  std::int64_t table_rows_;
  std::shared_ptr<Sorted> sorted_;  // of all copies
};

// x [N, D], a [N, K].
Tensor row_dots(const Tensor& x_ND, const RowTablePtr& table, const RowPicks& picks,
                const Pass& pass);
// weight [N, K], y [N, D].
Tensor row_sums(const Tensor& weight_NK, const RowTablePtr& table, const RowPicks& picks,
                const Pass& pass);

}  // namespace mote::model::ops
