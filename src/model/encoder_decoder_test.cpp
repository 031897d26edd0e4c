#include "model/encoder_decoder.h"

#include <gtest/gtest.h>

#include "model/layers/position_bias.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::expect_close;
using testing::test_pass;

// specs/checkpoints 2.3: the first distance of each bucket, 32 buckets up to 128.
TEST(PositionBucket, BeginsWhereTheSpecSays) {
  const checkpoint::Bucketed config;
  const auto expect_first = [&](bool encoder, std::vector<std::pair<int, int>> firsts) {
    for (const auto& [bucket, first] : firsts) {
      EXPECT_EQ(position_bucket(-first, config, encoder), bucket) << first;
      EXPECT_EQ(position_bucket(-first + 1, config, encoder), bucket - 1) << first;
    }
  };
  expect_first(true, {{1, 1},
                      {7, 7},
                      {8, 8},
                      {9, 12},
                      {10, 16},
                      {11, 23},
                      {12, 32},
                      {13, 46},
                      {14, 64},
                      {15, 91}});
  expect_first(false, {{1, 1},
                       {15, 15},
                       {16, 16},
                       {17, 19},
                       {18, 21},
                       {19, 24},
                       {20, 27},
                       {21, 31},
                       {22, 35},
                       {23, 40},
                       {24, 46},
                       {25, 52},
                       {26, 59},
                       {27, 67},
                       {28, 77},
                       {29, 87},
                       {30, 99},
                       {31, 113}});
  EXPECT_EQ(position_bucket(5, config, true), 16 + 5);
  EXPECT_EQ(position_bucket(5, config, false), 0) << "a decoder sees no later key";
  EXPECT_EQ(position_bucket(-5000, config, false), 31);
}

ModelConfig small_config(bool sparse) {
  ModelConfig config;
  config.vocab_size = 11;
  config.layers = 2, config.encoder.layers = 2;
  config.dim = 8, config.context = 16, config.encoder.context = 16;
  config.norms.kind = checkpoint::NormKind::rms;
  config.head.bias = false;
  config.attention = checkpoint::Bucketed{2, 4, 8, 12};
  config.feed_forward = checkpoint::Dense{16, checkpoint::NeuronActivation::relu, false, false};
  if (sparse) {
    checkpoint::Mixture mixture;
    mixture.experts = 3, mixture.expert_width = 8;
    mixture.router.experts_per_token = 1;
    mixture.router.gate = checkpoint::Gate::softmax_before;
    config.feed_forward = mixture;
  }
  return config;
}

std::unique_ptr<Model> small_model(bool sparse = false) {
  auto model = make_model(small_config(sparse));
  initialize(*model, 4);
  return model;
}

// What a padded sequence gives is what it gives alone, and padding is never seen.
TEST(EncoderDecoder, PaddingOfASourceChangesNothing) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  for (const bool sparse : {false, true}) {
    const auto model = small_model(sparse);
    const Tensor alone = torch::tensor({{3, 4, 5}}), target = torch::tensor({{0, 7, 8}});
    const Tensor both = torch::tensor({{3, 4, 5, 9, 9}, {1, 2, 3, 4, 5}});
    ForwardState one(pass), two(pass);
    model->read_source({alone, {}}, one);
    model->read_source({both, torch::tensor({3, 5}, torch::kInt32)}, two);
    expect_close(model->hidden(target.expand({2, 3}), two)[0], model->hidden(target, one)[0], 1e-5);
  }
}

TEST(EncoderDecoder, GivesTheSameWithACacheForAnyNumberOfTokensAtATime) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  const auto model = small_model();
  const Source source{torch::tensor({{3, 4, 5, 6}, {7, 8, 1, 1}}),
                      torch::tensor({4, 2}, torch::kInt32)};
  const Tensor target = torch::arange(20).remainder(11).view({2, 10});
  ForwardState whole(pass);
  model->read_source(source, whole);
  const Tensor want = model->hidden(target, whole);
  for (const std::int64_t step : {1, 3, 10}) {
    Cache cache = model->make_cache();
    ForwardState state(pass);
    state.caches = {&cache};
    model->read_source(source, state);
    std::vector<Tensor> parts;
    for (std::int64_t t = 0; t < 10; t += step)
      parts.push_back(
          model->hidden(target.narrow(1, t, std::min<std::int64_t>(step, 10 - t)), state));
    expect_close(torch::cat(parts, 1), want, 1e-5);
  }
}

TEST(EncoderDecoder, TargetsOfDifferentSourcesInOnePassAreWhatEachIsAlone) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  const auto model = small_model();
  const std::vector<Tensor> sources = {torch::tensor({{3, 4, 5, 6, 9, 2}}),
                                       torch::tensor({{7, 8}})};
  const Tensor target = torch::arange(12).remainder(11).view({2, 6});
  std::vector<Cache> caches;
  std::vector<Tensor> alone;
  for (std::size_t b = 0; b < 2; ++b) {
    const Tensor mine = target.narrow(0, static_cast<std::int64_t>(b), 1);
    ForwardState whole(pass);
    model->read_source({sources[b], {}}, whole);
    alone.push_back(model->hidden(mine, whole).narrow(1, b == 0 ? 4 : 1, 2));
    caches.push_back(model->make_cache());
    ForwardState state(pass);
    state.caches = {&caches.back()};
    model->read_source({sources[b], {}}, state);
    model->hidden(mine.narrow(1, 0, b == 0 ? 4 : 1), state);
  }
  ForwardState together(pass);
  together.caches = {&caches[0], &caches[1]};
  std::vector<Tensor> parts;
  for (std::int64_t t = 0; t < 2; ++t)
    parts.push_back(model->hidden(torch::cat({target.narrow(0, 0, 1).narrow(1, 4 + t, 1),
                                              target.narrow(0, 1, 1).narrow(1, 1 + t, 1)}),
                                  together));
  expect_close(torch::cat(parts, 1), torch::cat(alone), 1e-5);
}

TEST(EncoderDecoder, TargetsBelowZeroDoNotCount) {
  const auto model = small_model();
  const Pass pass = test_pass(true);
  Memory memory;
  const Tensor ids = torch::tensor({{0, 3, 4, 5}}), source = torch::tensor({{6, 7}});
  const auto loss = [&](const Tensor& target, std::int64_t count) {
    return model
        ->loss({ids.narrow(1, 0, count), target.narrow(1, 0, count), {source, {}}}, memory, pass)
        .token_mean.item<double>();
  };
  EXPECT_NEAR(loss(torch::tensor({{3, 4, -100, -100}}), 4), loss(torch::tensor({{3, 4, 0, 0}}), 2),
              1e-6);
}

TEST(EncoderDecoder, RefusesAPassWithoutASource) {
  const Pass pass = test_pass();
  ForwardState state(pass);
  EXPECT_THROW(small_model()->hidden(torch::tensor({{0, 1}}), state), Error);
}

}  // namespace
}  // namespace mote::model
