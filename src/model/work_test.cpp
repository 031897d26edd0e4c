// What a config says that training costs (checkpoint/work.h), against what its products count.
#include "checkpoint/work.h"

#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::test_pass;
namespace ck = checkpoint;

ModelConfig small(const ck::AttentionConfig& attention, const ck::FeedForwardConfig& feed_forward) {
  ModelConfig config;
  config.vocab_size = 29;
  config.layers = 2;
  config.dim = 12;
  config.context = 6;
  config.attention = attention;
  config.feed_forward = feed_forward;
  return config;
}

// Of the third step, whose memory is full. `by_torch`: multiply-adds of a token's forward pass that are
// LibTorch's, in all layers.
void expect_counted(const ModelConfig& config, double by_torch = 0) {
  constexpr std::int64_t kStreams = 3;
  const auto model = make_model(config);
  initialize(*model, 1);
  Memory memory;
  std::atomic<std::int64_t> count = 0;
  Pass pass = test_pass(/*train=*/true);
  const Tensor ids = torch::arange(kStreams * config.context, torch::kInt64)
                         .remainder(config.vocab_size)
                         .view({kStreams, config.context});
  for (int step = 0; step < 2; ++step) model->loss({ids, ids}, memory, pass);
  pass.run.multiply_adds = &count;
  const TrainingLoss loss = model->loss({ids, ids}, memory, pass);
  const std::int64_t forward = count;
  loss.total.backward();

  const ck::Work work = ck::work_of(config, kStreams);
  const auto tokens = static_cast<double>(kStreams * config.context);
  // The gradients of the head are made with its loss, in the forward pass.
  const double early = tokens * (work.training.head - work.forward.head);
  EXPECT_DOUBLE_EQ(static_cast<double>(forward),
                   tokens * (work.forward.total() - by_torch) + early);
  EXPECT_DOUBLE_EQ(static_cast<double>(count), tokens * (work.training.total() - 3 * by_torch));
}

const ck::TransformerXl kXl{2, 4, 2, 4};
const ck::Causal kCausal{3, 4, true};

TEST(Work, OfDenseLayersIsWhatTheProductsCount) {
  expect_counted(small(kXl, ck::Dense{20}));
  expect_counted(small(kCausal, ck::Dense{20}));
}

TEST(Work, OfRotaryAttentionAndGatedLayersIsWhatTheProductsCount) {
  ck::Rotary rotary;
  rotary.heads = 6, rotary.key_heads = 2, rotary.head_dim = 4;
  const ck::Dense gated{20, ck::NeuronActivation::silu, true, false};
  for (const std::int64_t window : {0, 4, 100}) {
    rotary.window = window;
    expect_counted(small(rotary, gated));
  }
}

TEST(Work, OfTopKActivationIsWhatTheProductsCount) {
  expect_counted(small(kXl, ck::TopK{20, 5}));
}

TEST(Work, OfMixturesIsWhatTheProductsCount) {
  ck::Mixture mixture;
  mixture.experts = 5, mixture.expert_width = 7, mixture.router.experts_per_token = 2;
  expect_counted(small(kXl, mixture));
  mixture.router.experts_per_token = 5;
  mixture.router.entropy_weight = 0.01;
  expect_counted(small(kCausal, mixture));
}

TEST(Work, OfOtherRoutersIsWhatTheProductsCount) {
  ck::Mixture mixture;
  mixture.experts = 5, mixture.expert_width = 7, mixture.router.experts_per_token = 2;
  mixture.router.score = ck::HashScore{};
  mixture.router.gate = ck::Gate::one;
  expect_counted(small(kCausal, mixture));
  mixture.router = {};
  mixture.router.experts_per_token = 2;
  mixture.router.noise = ck::LearnedNoise{};
  expect_counted(small(kCausal, mixture));
  mixture.key_rank = 4;
  expect_counted(small(kXl, mixture));
  mixture.router = {};
  mixture.router.experts_per_token = 2;
  mixture.router.score = ck::RecurrentScore{6};
  mixture.key_rank = 0;
  expect_counted(small(kCausal, mixture), 2 * 6.0 * 6 * 6);
}

TEST(Work, OfGatedExpertsIsWhatTheProductsCount) {
  ck::Mixture mixture{5, 6, {2, 0, 0}};
  mixture.gated = true;
  mixture.activation = ck::NeuronActivation::silu;
  expect_counted(small(kCausal, mixture));
  mixture.shared = {7, true};
  mixture.router.gate = ck::Gate::softmax_before;
  expect_counted(small(kCausal, mixture));
}

TEST(Work, OfLatentAttentionIsWhatTheProductsCount) {
  ck::Latent latent;
  latent.heads = 3, latent.kv_rank = 5, latent.head_dim = 6, latent.rope_dim = 2;
  latent.value_dim = 4;
  expect_counted(small(latent, ck::Dense{20}));
  latent.q_rank = 7;
  expect_counted(small(latent, ck::Dense{20}));
}

TEST(Work, OfGatedLookupLayersIsWhatTheProductsCount) {
  ck::ProductKey memory;
  memory.values = 16, memory.gated_output = true;
  memory.router.heads = 3, memory.router.experts_per_head = 5;
  expect_counted(small(kCausal, memory));
  ck::Peer peer;
  peer.experts = 25, peer.gated = true;
  peer.router.heads = 2, peer.router.experts_per_head = 7;
  peer.router.query = ck::LinearQuery{6};
  expect_counted(small(kCausal, peer));
}

TEST(Work, OfProductKeyMemoriesIsWhatTheProductsCount) {
  ck::ProductKey memory;
  memory.values = 16;
  memory.router.heads = 3, memory.router.experts_per_head = 5;
  expect_counted(small(kXl, memory));
  memory.router.gate = ck::LookupGate::softmax;
  memory.router.query = ck::LinearQuery{8, true, ck::QueryNorm::layer};
  expect_counted(small(kCausal, memory));
}

TEST(Work, OfPeerIsWhatTheProductsCount) {
  ck::Peer peer;
  peer.experts = 25;
  peer.router.heads = 2, peer.router.experts_per_head = 7;
  peer.router.query = ck::LinearQuery{6};
  expect_counted(small(kXl, peer));
  peer.router.share_keys = false;
  peer.separate_tables = true;
  peer.router.gate = ck::LookupGate::sigmoid;
  expect_counted(small(kXl, peer));
}

TEST(Work, OfLayersThatDifferAndTiedWeightsIsWhatTheProductsCount) {
  ModelConfig config = small(kXl, ck::Dense{20});
  config.layers = 3;
  config.tied = true;
  config.rules.emplace_back();
  config.rules[0].layers.read("middle", {"test", "layers"});
  config.rules[0].changes = Json::parse(R"({"feed_forward": {"kind": "peer", "experts": 16,
      "router": {"heads": 2, "experts_per_head": 3, "query": {"kind": "linear", "key_dim": 4}}}})");
  expect_counted(config);
}

}  // namespace
}  // namespace mote::model
