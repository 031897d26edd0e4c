#include "kernels/linear/gemm/gemm_blocking.h"

#include <unistd.h>

#include <algorithm>

namespace mote::kernels {
namespace {

// What the system says of a core's cache, in bytes; where it does not, what small processors have.
Index cache_bytes(int name, Index small) {
  const long found = sysconf(name);
  return found > 0 ? static_cast<Index>(found) : small;
}

Index l1_bytes() {
  static const Index bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, Index{32} << 10);
  return bytes;
}

Index l2_bytes() {
  static const Index bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, Index{512} << 10);
  return bytes;
}

constexpr Index kDepth = 256;  // a panel of 16 floats is 16 KiB then: in any L1 cache
constexpr Index kDepthUnit = 64;
constexpr Index kRowUnit = kGemmWholeRows;  // whole panels of 6, 8, 12 and 16 rows
constexpr Index kColumnUnit = 192;          // whole panels of 16, 32 and 48 columns

constexpr Index round_up(Index x, Index unit) {
  return (x + unit - 1) / unit * unit;
}

}  // namespace

GemmBlocking gemm_blocking(const Gemm& args) {
  GemmBlocking cut;
  const Index blocks = std::max<Index>(1, (args.k + kDepth - 1) / kDepth);
  cut.depth = std::max(kDepthUnit, round_up((args.k + blocks - 1) / blocks, kDepthUnit));
  // A block of a takes a sixteenth of the L2 cache, so that what is copied is still there when it is
  // multiplied; one of b takes half.
  const Index line = cut.depth * static_cast<Index>(sizeof(float));
  const Index rows = std::max(kRowUnit, l2_bytes() / 16 / line / kRowUnit * kRowUnit);
  const Index columns = std::max(kColumnUnit, l2_bytes() / 2 / line / kColumnUnit * kColumnUnit);
  cut.rows = std::min(rows, round_up(std::max<Index>(args.m, 1), kRowUnit));
  cut.columns = std::min(columns, round_up(std::max<Index>(args.n, 1), kColumnUnit));
  return cut;
}

GemmBlocking gemm_transposed_blocking(const Gemm& args) {
  GemmBlocking cut = gemm_blocking(args);
  // Panels of a take three quarters of the L2 cache, and pass a group of b's rows again and again.
  const Index line = std::max<Index>(args.k, 1) * static_cast<Index>(sizeof(float));
  const Index rows = std::max(kRowUnit, l2_bytes() / 4 * 3 / line / kRowUnit * kRowUnit);
  cut.rows = std::min(rows, round_up(std::max<Index>(args.m, 1), kRowUnit));
  cut.columns = 96;  // whole tiles of 6, 8 and 32
  return cut;
}

bool stays_in_l1(Index floats) {
  return 2 * floats * static_cast<Index>(sizeof(float)) <= l1_bytes();
}

bool has_few_rows(const Gemm& args) {
  const Index few = args.b.type == Type::f32 ? kFewRows : kFewRowsOfHalves;
  return args.m <= few && args.a.rows == Rows::outer && args.b.rows == Rows::outer &&
         args.b.source.fill == nullptr && args.b.panels == nullptr;
}

// Laying out a pays where it is not much larger than b, finishing sums column by column where they
// are of many steps: two k each in bfloat16.
bool is_transposed(const Gemm& args) {
  const Index steps = args.precision == Precision::bf16 ? args.k / 2 : args.k;
  return args.m <= 2 * args.n && args.m <= steps && args.b.rows == Rows::outer && args.b.data &&
         !args.finish.accumulate;
}

}  // namespace mote::kernels
