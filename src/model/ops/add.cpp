#include "model/ops/add.h"

#include <algorithm>

#include "base/check.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

// out[i] = x[i] + y[i].
void sum(const float* __restrict x, const float* __restrict y, float* __restrict out,
         std::int64_t count) {
  constexpr std::int64_t kStep = 16;  // a fixed number, which the compiler turns into vectors
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep)
    for (std::int64_t j = 0; j < kStep; ++j) out[i + j] = x[i + j] + y[i + j];
  for (; i < count; ++i) out[i] = x[i] + y[i];
}

}  // namespace

Tensor add(const Tensor& x_any, const Tensor& y_any, const Pass& pass) {
  const Timed timed(pass, "add");
  MOTE_CHECK(x_any.numel() == y_any.numel(), "add: x has ", x_any.numel(), " numbers, y ",
             y_any.numel());
  if (recording({&x_any, &y_any})) return x_any + y_any.view(x_any.sizes());
  const Tensor x = x_any.contiguous(), y = y_any.contiguous();
  Tensor z = output(x.sizes(), pass);
  const float *from = x.const_data_ptr<float>(), *other = y.const_data_ptr<float>();
  float* out = z.mutable_data_ptr<float>();
  const std::int64_t count = x.numel();
  constexpr std::int64_t kPiece = 1 << 14;
  parallel_for(*pass.run.executor, (count + kPiece - 1) / kPiece, [&](std::int64_t item, int) {
    const std::int64_t first = item * kPiece;
    sum(from + first, other + first, out + first, std::min(kPiece, count - first));
  });
  return z;
}

Tensor add_rows(const Tensor& x_BTD, const Tensor& table_PD, std::int64_t first, const Pass& pass) {
  const Timed timed(pass, "add");
  const std::int64_t length = x_BTD.size(1), columns = x_BTD.size(2);
  MOTE_CHECK(first + length <= table_PD.size(0) && columns == table_PD.size(1),
             "add_rows: rows up to ", first + length, " with ", columns,
             " columns, of a table with ", table_PD.size(0), " x ", table_PD.size(1));
  if (recording({&x_BTD, &table_PD})) return x_BTD + table_PD.narrow(0, first, length);
  const Tensor x = x_BTD.contiguous(), table = table_PD.contiguous();
  Tensor z = output(x.sizes(), pass);
  const std::int64_t count = length * columns;
  for (std::int64_t b = 0; b < x.size(0); ++b)
    sum(x.const_data_ptr<float>() + b * count, table.const_data_ptr<float>() + first * columns,
        z.mutable_data_ptr<float>() + b * count, count);
  return z;
}

}  // namespace mote::model::ops
