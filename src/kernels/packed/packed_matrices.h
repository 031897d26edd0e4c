// Stacks of matrices in a packed form, whatever the coder: which coder, the shape, and the parts in
// the order of the coder's list. Everything that knows no format passes these two types.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct Coder;

// E matrices [rows, columns]; columns are the inputs.
struct StackShape {
  Index experts = 0, rows = 0, columns = 0;
};
constexpr Index kMostPackedSide = Index{1} << 30;  // of experts, rows and columns each

// What the numbers of a part are.
enum class PartType { u8, u16, u32, u64, bf16 };
constexpr Index bytes_per_element(PartType type) {
  return type == PartType::u8 ? 1 : type == PartType::u32 ? 4 : type == PartType::u64 ? 8 : 2;
}

// One array of a stored form; in a file it is `<tensor>.<name>`.
struct PartSpec {
  const char* name;
  PartType type;
  // Sizes by axis; kAnyLength where only the contents tell.
  std::vector<Index> (*shape)(const StackShape&);
};
constexpr Index kAnyLength = -1;

constexpr std::size_t kMostParts = 5;

// A view: the parts are someone else's memory, each at least aligned to its elements.
struct PackedMatrices {
  struct Part {
    const void* data = nullptr;
    Index count = 0;  // elements
  };
  const Coder* coder = nullptr;
  StackShape shape;
  std::array<Part, kMostParts> parts{};

  // T is the type that the coder's list says, Bf16 included; nothing is checked.
  template <class T>
  [[gnu::always_inline]] const T* part(std::size_t i) const {
    return static_cast<const T*>(parts[i].data);
  }
};

// Throws a file error that names `name` unless there is such a shape and every part has the number
// of elements that its coder's list says. Coders validate contents after that.
void check_parts(const PackedMatrices& w, const std::string& name);

// Every bit of the stored form.
std::uint64_t num_bits(const PackedMatrices& w);

// The owner of a stored form, as encoding makes it: parts of zeros, each on a cache line.
class PackedStack {
 public:
  // `any_length` replaces kAnyLength in the parts' shapes.
  PackedStack(const Coder& coder, const StackShape& shape, Index any_length = 0);

  template <class T>
  T* part(std::size_t i) {
    return reinterpret_cast<T*>(lines_[i].data());
  }
  // Valid as long as this object, moved or not.
  PackedMatrices view() const;

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  const Coder* coder_;
  StackShape shape_;
  std::array<std::vector<Line>, kMostParts> lines_;
  std::array<Index, kMostParts> counts_{};
};

}  // namespace mote::kernels
