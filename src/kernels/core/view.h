// Non-owning views of plain memory. A view is passed by value.
//
// View<float, 2> has sizes and strides in elements; the last stride may differ from 1 only where an
// operation says so. Accessors are always inlined, so that a file compiled for one instruction set
// never provides them to others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace mote::kernels {

using Index = std::int64_t;

template <class T, int Rank>
struct View {
  T* data = nullptr;
  std::array<Index, Rank> sizes{};
  std::array<Index, Rank> strides{};

  [[gnu::always_inline]] Index size(int axis) const {
    return sizes[static_cast<std::size_t>(axis)];
  }
  [[gnu::always_inline]] Index stride(int axis) const {
    return strides[static_cast<std::size_t>(axis)];
  }
  [[gnu::always_inline]] T* row(Index i) const { return data + i * strides[0]; }
  [[gnu::always_inline]] T& operator()(Index i) const { return data[i * strides[0]]; }
  [[gnu::always_inline]] T& operator()(Index i, Index j) const {
    return data[i * strides[0] + j * strides[1]];
  }
  [[gnu::always_inline]] T& operator()(Index i, Index j, Index k) const {
    return data[i * strides[0] + j * strides[1] + k * strides[2]];
  }
  [[gnu::always_inline]] bool empty() const {
    for (Index n : sizes)
      if (n == 0) return true;
    return false;
  }
  // Implicit, as a pointer's is. NOLINTNEXTLINE(google-explicit-constructor)
  [[gnu::always_inline]] operator View<const T, Rank>() const requires(!std::is_const_v<T>) {
    return {data, sizes, strides};
  }
};

// Row-major views of memory without gaps.
template <class T>
[[gnu::always_inline]] inline View<T, 1> view(T* data, Index n) {
  return {data, {n}, {1}};
}
template <class T>
[[gnu::always_inline]] inline View<T, 2> view(T* data, Index rows, Index columns) {
  return {data, {rows, columns}, {columns, 1}};
}
template <class T>
[[gnu::always_inline]] inline View<T, 3> view(T* data, Index a, Index b, Index c) {
  return {data, {a, b, c}, {b * c, c, 1}};
}

}  // namespace mote::kernels
