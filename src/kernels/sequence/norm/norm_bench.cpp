// Rate of layer norm in bytes of x read and y written, forward and backward, by variant.
#include <benchmark/benchmark.h>

#include <string>
#include <type_traits>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/sequence/norm/norm.h"

namespace mote::kernels {
namespace {

struct NormData {
  Index rows = 2048, columns;
  std::vector<float> x, dy, weight, bias, y, mean, rstd, dweight, dbias;
  explicit NormData(Index width)
      : columns(width),
        x(normals(rows * columns, 1)),
        dy(normals(rows * columns, 2)),
        weight(normals(columns, 3)),
        bias(normals(columns, 4)),
        y(x.size()),
        mean(static_cast<std::size_t>(rows)),
        rstd(mean.size()),
        dweight(weight.size()),
        dbias(weight.size()) {}
  View<const float, 2> view_of(const std::vector<float>& v) const {
    return view(v.data(), rows, columns);
  }
  LayerNorm forward() {
    return {view_of(x),  weight.data(), bias.data(), 1e-5f, view(y.data(), rows, columns),
            mean.data(), rstd.data()};
  }
  LayerNormBackward backward() {
    return {view_of(x),     view_of(dy), weight.data(),
            mean.data(),    rstd.data(), view(y.data(), rows, columns),
            dweight.data(), dbias.data()};
  }
};

template <class Args>
void time_norm(const char* title, Index width, std::span<const Variant<Args>> variants) {
  for (const Variant<Args>& variant : variants) {
    if (!supported(variant.isa)) continue;
    const std::string name_of =
        std::string(title) + "/" + name(variant.isa) + "/d" + std::to_string(width);
    benchmark::RegisterBenchmark(name_of.c_str(), [=](benchmark::State& state) {
      NormData data(width);
      layer_norm(data.forward(), {});
      for (auto unused : state) {
        if constexpr (std::is_same_v<Args, LayerNorm>)
          variant.call(data.forward(), {});
        else
          variant.call(data.backward(), {});
      }
      state.SetBytesProcessed(state.iterations() * data.rows * data.columns * 8);
    });
  }
}

const bool kRegistered = [] {
  for (const Index width : {256, 412, 1024}) {
    time_norm("layer_norm", width, layer_norm_variants());
    time_norm("layer_norm_backward", width, layer_norm_backward_variants());
  }
  return true;
}();

}  // namespace
}  // namespace mote::kernels
