// The instruction sets: the one table that dispatch, tests and CMake read (cmake/mote.cmake reads
// this file, so that each row stays on one line).
//
// A row is what an object compiled for it may use: the flags of the row it builds on and its own.
// The processor and the operating system must offer every feature that is named by a flag. `--isa
// TEXT` allows the rows up to the last one that has TEXT as its word.
#pragma once

namespace mote::kernels {

// In the order of preference.
enum class Isa { reference, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, amx };

struct IsaRow {
  Isa isa;
  const char* name;
  const char* word;  // of --isa
  Isa base;          // whose flags it has too
  const char* flags;
};

// clang-format off
inline constexpr IsaRow kIsaRows[] = {
    {Isa::reference, "reference", "reference", Isa::reference, ""},
    {Isa::avx2, "avx2", "avx2", Isa::reference, "-mavx2 -mfma -mf16c -mbmi -mbmi2 -mpopcnt"},
    {Isa::avx2_vnni, "avx2_vnni", "avx2_vnni", Isa::avx2, "-mavxvnni"},
    {Isa::avx512, "avx512", "avx512", Isa::avx2, "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512"},
    {Isa::avx512_vnni, "avx512_vnni", "avx512", Isa::avx512, "-mavx512vnni"},
    {Isa::avx512_bf16, "avx512_bf16", "avx512", Isa::avx512_vnni, "-mavx512bf16"},
    {Isa::amx, "amx", "amx", Isa::avx512_bf16, "-mamx-tile -mamx-int8 -mamx-bf16"},
};
// clang-format on

}  // namespace mote::kernels
