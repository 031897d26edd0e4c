// Tables, picked rows and weights.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/lookup/table_rows/table_rows.h"

namespace mote::kernels {

struct TableRowsCase {
  Index outputs, per_output, columns;
  Type type = Type::f32;
  bool ragged = false, weighted = true, add = false;
  Index rows = 50;
};

inline std::string case_name(const TableRowsCase& c) {
  return word("outputs", c.outputs) + word("_pairs", c.per_output) + word("_columns", c.columns) +
         (c.type == Type::bf16 ? "_bf16" : "") + (c.ragged ? "_ragged" : "") +
         (c.weighted ? "" : "_plain") + (c.add ? "_added" : "");
}

inline std::vector<TableRowsCase> table_rows_cases() {
  std::vector<TableRowsCase> cases = {
      {0, 3, 8}, {5, 0, 8}, {5, 0, 8, Type::f32, false, true, true}};
  for (const Type type : {Type::f32, Type::bf16}) {
    for (const Index columns : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 256})
      for (const Index pairs : {1, 4, 7})
        cases.push_back({6, pairs, columns, type, columns % 2 == 1, pairs != 4, columns % 3 == 0});
    cases.push_back({90, 32, 40, type, true});
  }
  return cases;
}

struct TableRowsData {
  TableRowsCase shape;
  std::vector<std::int32_t> first = {0}, index;
  std::vector<float> values, weight, x;
  std::vector<Bf16> halves;

  explicit TableRowsData(const TableRowsCase& c)
      : shape(c), values(normals(c.rows * stride(), 1)), x(normals(c.outputs * c.columns, 3)) {
    for (Index n = 0; n < c.outputs; ++n)
      first.push_back(first.back() + static_cast<std::int32_t>(c.ragged ? n % (2 * c.per_output + 1)
                                                                        : c.per_output));
    const Rng rng(4, Purpose::test);
    for (Index p = 0; p < std::max<Index>(first.back(), c.outputs * c.per_output); ++p)
      index.push_back(static_cast<std::int32_t>(
          static_cast<double>(rng.uniform(static_cast<std::uint64_t>(p))) *
          static_cast<double>(c.rows)));
    weight = normals(static_cast<Index>(index.size()), 2);
    for (float& each : values) {
      halves.push_back(to_bf16(each));
      if (c.type == Type::bf16) each = from_bf16(halves.back());
    }
  }
  Index stride() const { return shape.columns + 3; }
  Table table() const {
    return {shape.type == Type::bf16 ? static_cast<const void*>(halves.data()) : values.data(),
            shape.rows, shape.columns, stride(), shape.type};
  }
  RowDots dots(float* out) const {
    return {table(), index.data(), shape.per_output, view(x.data(), shape.outputs, shape.columns),
            out};
  }
  RowSums sums(float* y) const {
    return {table(),
            index.data(),
            shape.per_output,
            shape.ragged ? first.data() : nullptr,
            shape.weighted ? weight.data() : nullptr,
            view(y, shape.outputs, shape.columns),
            shape.add};
  }
};

}  // namespace mote::kernels
