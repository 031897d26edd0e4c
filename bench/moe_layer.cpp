// One sigma-MoE layer, router included: forward, and forward + backward to the input and all
// weights. The layers of Mixtral, OLMoE, Qwen3-MoE and Switch: forward, with weights of either type.
#include <optional>

#include "bench/layer.h"
#include "bench/record.h"
#include "model/ops/experts.h"

namespace mote::bench {
namespace {

struct Sizes {
  const char* name;
  std::int64_t dim, experts, width, per_token;
  std::vector<std::int64_t> tokens;
};

void time_shape(const Report& report, const Sizes& s, std::int64_t tokens, bool bf16,
                bool backward) {
  const std::string shape = concat(s.name, " d=", s.dim, " E=", s.experts, " G=", s.width,
                                   " K=", s.per_token, " tokens=", tokens, bf16 ? " bf16" : " fp32",
                                   backward ? " forward+backward" : " forward");
  if (!report.wants("moe_layer", shape)) return;
  const Layer layer(checkpoint::Mixture{s.experts, s.width, {s.per_token, 0, 0}}, s.dim);
  model::Pass pass = report.options().pass;
  pass.precision = bf16 ? kernels::Precision::bf16 : kernels::Precision::f32;
  std::vector<Tensor> batches;
  for (int i = 0; i < 8; ++i) batches.push_back(torch::randn({tokens, s.dim}));
  std::size_t turn = 0;
  const auto forward = [&] {
    const torch::NoGradGuard no_grad;
    layer.forward(batches[turn++ % 8], pass);
  };
  const auto both = [&] {
    layer.forward_and_backward(batches[turn++ % 8], pass);
    layer.forget_gradients();
  };
  const auto seconds =
      sample(backward ? std::function<void()>(both) : forward, report.options().repeat);
  const double work =
      4.0 * static_cast<double>(tokens * s.dim * s.width * s.per_token) * (backward ? 3 : 1);
  const double time = median(seconds), rate = work / time;
  Json extra = {{"ms", 1e3 * time}, {"GFLOP_per_s", 1e-9 * rate}};
  if (!bf16) extra["share_of_limit"] = rate / report.peak_flops_per_second();
  report.rate("moe_layer", shape, bf16 ? "bf16 products, f32 weights" : "fp32", "tokens/s",
              static_cast<double>(tokens), seconds, extra);
}

// Forward + backward of the experts alone, tokens routed evenly beforehand: what must not grow with
// the number of experts.
void time_experts_alone(const Report& report, const Sizes& s, std::int64_t tokens) {
  const std::string shape =
      concat(s.name, " d=", s.dim, " E=", s.experts, " G=", s.width, " K=", s.per_token,
             " tokens=", tokens, " fp32 forward+backward without-router");
  if (!report.wants("moe_layer", shape)) return;
  const Tensor chosen =
      torch::rand({tokens, s.experts}).argsort(-1, false).narrow(1, 0, s.per_token);
  const auto leaf = [](std::vector<std::int64_t> sizes) {
    return (0.02 * torch::randn(sizes)).requires_grad_();
  };
  const Tensor up = leaf({s.experts, s.width, s.dim}), down = leaf({s.experts, s.dim, s.width}),
               gate = leaf({tokens * s.per_token}), x = leaf({tokens, s.dim});
  const auto up_weight = model::make_dense_weight(up), down_weight = model::make_dense_weight(down);
  const auto routes = model::ops::sort_routes(
      {s.experts, model::ops::equal_rows(tokens, s.per_token, report.options().pass),
       chosen.to(torch::kInt32).reshape({-1}), gate},
      report.options().pass);
  std::vector<Tensor> leaves = {up, down, gate, x};
  const auto seconds = sample(
      [&] {
        const Tensor y =
            model::ops::experts(x, {nullptr, *up_weight, *down_weight, {kernels::UnitKind::relu}},
                                gate, routes, report.options().pass);
        y.backward(y.detach());
        for (Tensor& each : leaves) each.mutable_grad() = Tensor();
      },
      report.options().repeat);
  const double flops = 12.0 * static_cast<double>(tokens * s.dim * s.width * s.per_token);
  report.rate("moe_layer", shape, "fp32", "tokens/s", static_cast<double>(tokens), seconds,
              {{"share_of_limit", flops / median(seconds) / report.peak_flops_per_second()}});
}

checkpoint::Mixture family_layer(const std::string& name, const Sizes& s) {
  checkpoint::Mixture layer{s.experts, s.width, {s.per_token, 0, 0}};
  layer.router.gate = checkpoint::Gate::softmax_before;
  if (name == "Switch") return layer;
  layer.gated = true;
  layer.activation = checkpoint::NeuronActivation::silu;
  layer.router.renormalise = name != "OLMoE";
  return layer;
}

// A layer of a family as transformers has it: bf16 means weights and products, activations between
// them are float32.
void time_family(const Report& report, const Sizes& s) {
  for (const bool bf16 : {false, true}) {
    std::optional<Layer> layer;
    for (const std::int64_t tokens : s.tokens) {
      const std::string shape =
          concat(s.name, " d=", s.dim, " E=", s.experts, " G=", s.width, " K=", s.per_token,
                 " tokens=", tokens, bf16 ? " bf16" : " fp32", " forward");
      if (!report.wants("moe_layer", shape)) continue;
      const torch::NoGradGuard no_grad;
      const checkpoint::Mixture config = family_layer(s.name, s);
      if (!layer)
        layer.emplace(config, s.dim, torch::kFloat32, bf16 ? torch::kBFloat16 : torch::kFloat32);
      model::Pass pass = report.options().pass;
      pass.precision = bf16 ? kernels::Precision::bf16 : kernels::Precision::f32;
      std::vector<Tensor> batches;
      for (int i = 0; i < 8; ++i) batches.push_back(torch::randn({tokens, s.dim}));
      std::size_t turn = 0;
      const auto seconds =
          sample([&] { layer->forward(batches[turn++ % 8], pass); }, report.options().repeat);
      const double work = 2.0 * (config.gated ? 3 : 2) *
                          static_cast<double>(tokens * s.dim * s.width * s.per_token);
      const double rate = work / median(seconds);
      Json extra = {{"ms", 1e3 * median(seconds)}, {"GFLOP_per_s", 1e-9 * rate}};
      if (!bf16) extra["share_of_limit"] = rate / report.peak_flops_per_second();
      report.rate("moe_layer", shape, bf16 ? "bf16" : "fp32", "tokens/s",
                  static_cast<double>(tokens), seconds, extra);
    }
  }
}

}  // namespace

void moe_layer(const Report& report) {
  std::vector<Sizes> all = {{"sigma-moe", 412, 16, 128, 4, {256, 2048}},
                            {"fine-grained", 1024, 64, 256, 8, {1, 16, 2048}},
                            {"switch", 768, 128, 3072, 1, {1, 16, 1024}},
                            {"mixtral", 1024, 8, 3584, 2, {1, 16, 2048}}};
  // At fixed K and G the time must not grow with the number of experts.
  for (const std::int64_t experts : {16, 256}) {
    all.push_back({"many-experts", 512, experts, 128, 4, {32768}});
    time_experts_alone(report, all.back(), 32768);
  }
  for (const Sizes& sizes : all)
    for (const bool bf16 : {false, true})
      for (const std::int64_t tokens : sizes.tokens)
        for (const bool backward : {false, true})
          if (!backward || tokens >= 256) time_shape(report, sizes, tokens, bf16, backward);
  // The shapes of the peers' moe_layer.py, and of the layers of serve_generate.py's model.
  for (const Sizes& sizes :
       {Sizes{"Mixtral", 1024, 8, 3584, 2, {1, 16, 2048}},
        Sizes{"OLMoE", 1024, 64, 256, 8, {1, 16, 2048}}, Sizes{"OLMoE", 1024, 64, 512, 8, {1, 128}},
        Sizes{"Qwen3-MoE", 1024, 64, 256, 8, {1, 16, 2048}},
        Sizes{"Qwen3-MoE", 1024, 64, 512, 8, {1, 128}},
        Sizes{"Switch", 768, 128, 3072, 1, {1, 16, 1024}}})
    time_family(report, sizes);
}

}  // namespace mote::bench
