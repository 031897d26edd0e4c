// Ternary GPTQ of expert matrices from given second moments, and plain rounding: the shapes of the
// peers' script.
#include "bench/record.h"
#include "compress/methods/method.h"
#include "model/torch.h"

namespace mote::bench {

void quantize(const Report& report) {
  struct Shape {
    std::int64_t rows, columns;
  };
  for (const Shape& s : {Shape{3072, 768}, Shape{768, 3072}, Shape{2048, 768}, Shape{768, 2048}})
    for (const std::int64_t experts : {1, 4})
      for (const bool gptq : {true, false}) {
        const std::string shape =
            concat(s.rows, "x", s.columns, gptq ? " GPTQ-ternary" : " rounding-ternary",
                   " experts=", experts, " fp32");
        if (!report.wants("quantize", shape)) continue;
        const torch::NoGradGuard no_grad;
        const double scale = 1 / std::sqrt(static_cast<double>(s.columns));
        const Tensor x = torch::randn({experts, 2 * s.columns, s.columns})
                             .matmul(scale * torch::randn({s.columns, s.columns}));
        const model::WeightPtr weights =
            model::make_dense_weight(0.02 * torch::randn({experts, s.rows, s.columns}));
        compress::Statistics statistics;
        statistics.second_moments_EII = x.transpose(1, 2).matmul(x);
        statistics.tokens.assign(static_cast<std::size_t>(experts), 2 * s.columns);
        compress::MethodOptions options;
        options.damping = 0.01;
        const auto method = compress::make_method(
            gptq ? compress::MethodKind::gptq : compress::MethodKind::rtn, options);
        const auto seconds =
            sample([&] { method->compress(*weights, statistics, "w", report.options().pass); },
                   report.options().repeat);
        // Packing into codewords is included; the peers stop at symbols.
        report.rate("quantize", shape, "fp32", "Mweights/s",
                    1e-6 * static_cast<double>(weights->shape().count()), seconds);
      }
}

}  // namespace mote::bench
