#include "run/beam_search.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/models.h"

namespace mote::run {
namespace {

using model::Cache;
using model::ForwardState;
using model::Pass;
using model::Source;
using testing::test_pass;

std::unique_ptr<model::Model> small_model() {
  model::ModelConfig config;
  config.vocab_size = 11;
  config.layers = 2, config.encoder.layers = 2;
  config.dim = 8, config.context = 16, config.encoder.context = 16;
  config.head.bias = false;
  config.attention = checkpoint::Bucketed{2, 4, 8, 12};
  config.feed_forward = checkpoint::Dense{16};
  auto made = model::make_model(config);
  model::initialize(*made, 4);
  return made;
}

// All texts up to a length, each with its probability: a wide beam finds the best.
TEST(BeamSearch, FindsTheBestTextWhereItKeepsAll) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  const auto model = small_model();
  constexpr std::int64_t kNew = 3, kVocabulary = 11;
  const text::TokenId end = 1;
  const Source source{torch::tensor({{3, 4, 5}}), {}};
  const auto log_p_after = [&](const std::vector<std::int64_t>& ids) {
    ForwardState state(pass);
    model->read_source(source, state);
    const Tensor hidden = model->hidden(torch::tensor(ids, torch::kInt64).unsqueeze(0), state);
    return torch::log_softmax(model->logits(model::last_position(hidden), pass).flatten(), 0);
  };
  for (const double penalty : {0.0, 1.0, 2.0}) {
    Beam best{{}, false, -1e30};
    const std::function<void(std::vector<std::int64_t>, double)> extend =
        [&](std::vector<std::int64_t> ids, double sum) {
          const Tensor log_p = log_p_after(ids);
          for (std::int64_t id = 0; id < kVocabulary; ++id) {
            const double total = sum + log_p[id].item<double>();
            const auto length = static_cast<double>(ids.size());  // of the text with `id`
            std::vector<std::int64_t> longer = ids;
            if (id != end) longer.push_back(id);
            const bool done = id == end || static_cast<std::int64_t>(ids.size()) == kNew;
            if (!done) {
              extend(longer, total);
            } else if (const double score = total / std::pow(length, penalty); score > best.score) {
              best = {{longer.begin() + 1, longer.end()}, id == end, score};
            }
          }
        };
    extend({0}, 0);
    Cache cache = model->make_cache();
    ForwardState state(pass);
    state.caches = {&cache};
    model->read_source(source, state);
    const Tensor hidden = model->hidden(torch::tensor({{0}}), state);
    const Beam found = beam_search(
        *model, hidden, cache, kVocabulary, [&](text::TokenId id) { return id == end; },
        {2000, penalty, kNew}, pass);
    EXPECT_EQ(found.ids, best.ids) << penalty;
    EXPECT_EQ(found.ended, best.ended);
    EXPECT_NEAR(found.score, best.score, 1e-5);
  }
}

// A session that searched goes on with one text.
TEST(BeamSearch, LeavesACacheThatOneTextCanUse) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  const auto model = small_model();
  const auto logits_after = [&](Cache& cache) {
    cache.reset();
    ForwardState state(pass);
    state.caches = {&cache};
    model->read_source({torch::tensor({{9, 2, 5}}), {}}, state);
    Tensor hidden;
    for (const std::int64_t id : {0, 4, 7}) hidden = model->hidden(torch::tensor({{id}}), state);
    return model->logits(hidden, pass);
  };
  Cache cache = model->make_cache(), fresh = model->make_cache();
  const Tensor wanted = logits_after(fresh);
  ForwardState state(pass);
  state.caches = {&cache};
  model->read_source({torch::tensor({{1, 2}}), {}}, state);
  beam_search(
      *model, model->hidden(torch::tensor({{0}}), state), cache, 11,
      [](text::TokenId) { return false; }, {3, 1, 5}, pass);
  EXPECT_TRUE(logits_after(cache).equal(wanted));
}

TEST(BeamSearch, NeverWritesWhatABiasForbids) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  const auto model = small_model();
  Cache cache = model->make_cache();
  ForwardState state(pass);
  state.caches = {&cache};
  model->read_source({torch::tensor({{1, 2}}), {}}, state);
  BeamOptions options{3, 1, 8};
  for (text::TokenId id = 0; id < 11; ++id)
    if (id != 3 && id != 6)
      options.biases.emplace_back(id, -std::numeric_limits<float>::infinity());
  const Beam found = beam_search(
      *model, model->hidden(torch::tensor({{0}}), state), cache, 11,
      [](text::TokenId id) { return id == 1; }, options, pass);
  EXPECT_EQ(found.ids.size(), 8u);
  for (const text::TokenId id : found.ids) EXPECT_TRUE(id == 3 || id == 6) << id;
}

TEST(BeamSearch, OfOneBeamIsGreedy) {
  const torch::NoGradGuard no_grad;
  const Pass pass = test_pass();
  const auto model = small_model();
  const auto begin = [&](Cache& cache) {
    ForwardState state(pass);
    state.caches = {&cache};
    model->read_source({torch::tensor({{9, 2, 5}}), {}}, state);
    return model->hidden(torch::tensor({{0}}), state);
  };
  Cache cache = model->make_cache(), other = model->make_cache();
  const Beam found = beam_search(
      *model, begin(cache), cache, 11, [](text::TokenId) { return false; }, {1, 1, 6}, pass);
  ForwardState state(pass);
  state.caches = {&other};
  Tensor hidden = begin(other);
  std::vector<text::TokenId> greedy;
  for (int i = 0; i < 6; ++i) {
    const Tensor next = model->logits(hidden, pass).argmax(-1);
    greedy.push_back(static_cast<text::TokenId>(next.item<std::int64_t>()));
    hidden = model->hidden(next, state);
  }
  EXPECT_EQ(found.ids, greedy);
}

}  // namespace
}  // namespace mote::run
