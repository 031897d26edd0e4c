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

}  // namespace mote::model::ops
