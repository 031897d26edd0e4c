// The expert layer: rows sorted by expert times expert matrices, forward and backward, the products of
// a block of rows one after the other, so that its hidden units stay in the caches between them.
//
// Forward, over rows r, n the token and e the expert of each, with the units of linear/gated:
//   u_r = act(up_e x_n), or of three matrices act(gate_e x_n) (up_e x_n + up_offset)
//   y_n = sum_{r of n} gate_r * (down_e u_r)
//
// Matrices are stacks in memory, each of one type, in one piece or expert by expert; gate and up have
// the same type. u and y are float32. Of at most 64 rows altogether each product is cut by columns
// instead, so that few experts keep several threads busy.
//
// Backward of relu's units of two float32 matrices (sigma-MoE, specs 2.4), given dy:
//   t_r = down_e^T dy_n                  (not scaled)
//   dgate_r = <t_r, u_r>
//   dh_r = gate_r * t_r * 1[u_r > 0]
//   dx_n = sum_{r of n} up_e^T dh_r
//   ddown_e = sum_{r of e} dy_n (gate_r u_r)^T
//   dup_e = sum_{r of e} dh_r x_n^T
//
// Inputs are gathered while they are packed: no padding, no copy of x or dy. Only x, u, the gates
// and the order are needed for backward. Sums run in a fixed order, so results have the same bits
// for any number of threads. Experts without rows get zero gradients, tokens without rows zero
// output and zero gradient. Scratch: R D floats forward, and without u what a block's hidden units
// take for each worker, at most 768 G; R (D + G) backward.
//
// Shapes: gate and up [E, G, D], down [E, D, G] (all [E, out, in]), x and y [N, D], u [R, G] in sorted
// order, gates [R] in the order of tokens.
#pragma once

#include "kernels/linear/gated/gated.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/routing/sort/sort.h"

namespace mote::kernels {

// The index made by routing/sort, read-only.
struct Routes {
  const std::int32_t* ends = nullptr;   // [E]
  const std::int32_t* order = nullptr;  // [R]
  const std::int32_t* token = nullptr;  // [R]
  View<const std::int32_t, 1> position_R, first_N1;
  std::span<const RowBlock> blocks;
};

// E matrices [rows, columns] of one type, with unit stride along a row.
struct Stack {
  Index experts = 0, rows = 0, columns = 0;
  Type type = Type::f32;
  Index row_stride = 0;        // elements
  const void* data = nullptr;  // of the first, the others `stride` elements apart,
  Index stride = 0;
  const void* const* each = nullptr;  // or of each expert

  Operand matrix(Index e) const;
};
Stack stack_of(const View<const float, 3>& w_EOI);

struct ExpertsForward {
  View<const float, 2> x_ND;
  Stack gate_EGD, up_EGD, down_EDG;  // gate without experts: none
  Unit unit{UnitKind::relu};
  Routes routes;
  const float* gate_R = nullptr;
  View<float, 2> u_RG;  // out, or without memory: not kept
  View<float, 2> y_ND;  // out
  Precision precision = Precision::f32;
};
void experts_forward(const ExpertsForward& args, const Run& run);

struct ExpertsBackward {
  View<const float, 2> x_ND, u_RG, dy_ND;
  View<const float, 3> up_EGD, down_EDG;
  Routes routes;
  const float* gate_R = nullptr;
  View<float, 2> dx_ND;               // out
  float* dgate_R = nullptr;           // out
  View<float, 3> dup_EGD, ddown_EDG;  // out
  Precision precision = Precision::f32;
};
void experts_backward(const ExpertsBackward& args, const Run& run);

// The same in plain loops and double sums: the definition that tests compare with.
void experts_forward_reference(const ExpertsForward& args);
void experts_backward_reference(const ExpertsBackward& args);

}  // namespace mote::kernels
