// Between torch tensors and kernels: views of tensors, the executor on LibTorch's threads, and how
// an autograd function remembers how it was run.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>

#include "base/parallel.h"
#include "kernels/core/variants.h"
#include "kernels/core/view.h"
#include "kernels/linear/gemm/gemm.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

template <class T, int Rank>
kernels::View<T, Rank> view_of(const Tensor& x) {
  kernels::View<T, Rank> view;
  view.data = const_cast<std::remove_const_t<T>*>(x.const_data_ptr<std::remove_const_t<T>>());
  for (int axis = 0; axis < Rank; ++axis) {
    view.sizes[static_cast<std::size_t>(axis)] = x.size(axis);
    view.strides[static_cast<std::size_t>(axis)] = x.stride(axis);
  }
  return view;
}

// The tensor itself if its last stride is 1, else a contiguous copy.
inline Tensor unit_stride(const Tensor& x) {
  return x.dim() == 0 || x.stride(-1) == 1 || x.size(-1) == 1 ? x : x.contiguous();
}

// All but the last axis as one: [N, columns], unit stride along a row.
inline Tensor as_rows(const Tensor& x) {
  return unit_stride(x).reshape({-1, x.size(-1)});
}

// The same as a view of memory, which makes no tensor: of one whose rows lie at even distances,
// which even_rows() is.
inline Tensor even_rows(const Tensor& x) {
  return x.dim() == 2 ? unit_stride(x) : x.contiguous();
}
inline std::int64_t num_rows(const Tensor& x) {
  std::int64_t rows = 1;
  for (std::int64_t axis = 0; axis + 1 < x.dim(); ++axis) rows *= x.size(axis);
  return rows;
}
template <class T>
kernels::View<T, 2> rows_of(const Tensor& x) {
  kernels::View<T, 2> view;
  view.data = const_cast<std::remove_const_t<T>*>(x.const_data_ptr<std::remove_const_t<T>>());
  view.sizes = {num_rows(x), x.size(-1)};
  view.strides = {x.dim() == 2 ? x.stride(0) : x.size(-1), 1};
  return view;
}

// The output of an operation where nothing records gradients: one of the pass's buffers, if it has
// any.
Tensor output(at::IntArrayRef sizes, const Pass& pass, torch::ScalarType type = torch::kFloat32);
// The sizes of x with another last one; held in place.
inline at::DimVector sizes_with(const Tensor& x, std::int64_t columns) {
  at::DimVector sizes(x.sizes().begin(), x.sizes().end());
  sizes.back() = columns;
  return sizes;
}

// Autograd functions take tensors that may be undefined as optional, and give them back as such.
inline std::optional<Tensor> optional(const Tensor& x) {
  return x.defined() ? std::optional<Tensor>(x) : std::nullopt;
}

// Whether autograd must see an operation on these tensors. Decided once, at its start: where it is
// not, the operation is the kernel's call and nothing else.
inline bool recording(std::initializer_list<const Tensor*> inputs) {
  if (!torch::GradMode::is_enabled()) return false;
  for (const Tensor* x : inputs)
    if (x->defined() && x->requires_grad()) return true;
  return false;
}

// A pool for kernels whose threads, and the calling one, run LibTorch's own operators alone: its
// pool spins between operators, which makes two pools on the same cores slow each other, and sums
// in an order that depends on its size.
std::unique_ptr<ThreadPool> make_thread_pool(int threads);

// Keeps a Run (and a precision) in an autograd context and gets it back.
void remember(torch::autograd::AutogradContext* saved, const kernels::Run& run,
              kernels::Precision precision = kernels::Precision::f32);
kernels::Run recall_run(torch::autograd::AutogradContext* saved);
kernels::Precision recall_precision(torch::autograd::AutogradContext* saved);

// Rows `ids` (int64, any shape) of a matrix with `rows` of them, each written by read(id, row).
Tensor gathered(const Tensor& ids, std::int64_t rows, std::int64_t columns, const Pass& pass,
                FunctionRef<void(std::int64_t id, float* row)> read);

}  // namespace mote::model::ops
