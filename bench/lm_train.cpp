// A whole training step of a small decoder, the blocks and sizes of the peers' script: loss,
// backward, clipping, Adam.
#include "bench/record.h"
#include "checkpoint/work.h"
#include "model/model.h"
#include "train/optimizer/optimizer.h"

namespace mote::bench {
namespace {

constexpr std::int64_t kVocabulary = 8000, kContext = 256, kBatch = 8;

checkpoint::ModelConfig peer_config(bool dense) {
  checkpoint::ModelConfig config;
  config.vocab_size = kVocabulary;
  config.layers = 4;
  config.dim = 256;
  config.context = kContext;
  config.head.bias = false;
  config.positions = checkpoint::Positions::learned;
  config.attention = checkpoint::Causal{8, 32, true};
  if (dense)
    config.feed_forward = checkpoint::Dense{1024};
  else
    config.feed_forward = checkpoint::Mixture{16, 64, {4, 0, 0}};
  return config;
}

}  // namespace

void lm_train(const Report& report) {
  for (const bool dense : {true, false})
    for (const bool bf16 : {false, true}) {
      const std::string shape =
          concat(dense ? "dense" : "sigma-moe",
                 " d=256 layers=4 heads=8 E=16 G=64 K=4 vocab=", kVocabulary, " batch=", kBatch,
                 "x", kContext, bf16 ? " bf16" : " fp32", " adam");
      if (!report.wants("lm_train", shape)) continue;
      const auto lm = model::make_model(peer_config(dense));
      model::initialize(*lm, 1);
      train::TrainingConfig training;
      training.clip_norm = 0.25;
      const auto optimizer = train::make_optimizer(model::trainable_parameters(*lm), training,
                                                   report.options().pass.run);
      std::vector<Tensor> batches;
      for (int i = 0; i < 4; ++i)
        batches.push_back(torch::randint(0, kVocabulary, {kBatch, kContext + 1}, torch::kInt64));
      std::size_t turn = 0;
      model::Pass pass = report.options().pass;
      pass.train = true;
      pass.precision = bf16 ? kernels::Precision::bf16 : kernels::Precision::f32;
      const auto step = [&] {
        const Tensor& ids = batches[turn++ % 4];
        model::Memory memory;
        lm->loss({ids.narrow(1, 0, kContext), ids.narrow(1, 1, kContext)}, memory, pass)
            .total.backward();
        optimizer->step(2.5e-4);
      };
      const auto seconds = sample(step, report.options().repeat, 0.5);
      Json extra = {{"parameters", model::count_parameters(*lm).total}};
      if (!bf16)
        extra["share_of_limit"] = checkpoint::work_of(lm->config(), kBatch).training_flops() *
                                  static_cast<double>(kBatch * kContext) / median(seconds) /
                                  report.peak_flops_per_second();
      report.rate("lm_train", shape, bf16 ? "bf16 products, f32 weights" : "fp32", "tokens/s",
                  static_cast<double>(kBatch * kContext), seconds, extra);
    }
}

}  // namespace mote::bench
