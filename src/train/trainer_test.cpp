#include "train/trainer.h"

#include <map>

#include "model/saved.h"
#include "tests/support/files.h"
#include "tests/support/models.h"
#include "text/batches.h"
#include "train/optimizer/dense.h"
#include "train/schedule.h"

namespace mote::train {
namespace {

using testing::test_executor;
namespace ck = checkpoint;

std::string text_of(int words) {
  constexpr const char* kWords[] = {"wide ",      "deep ",  "text ", "gate ",
                                    "under the ", "reads ", "of "};
  const Rng rng(3, Purpose::test);
  std::string text;
  for (int i = 0; i < words; ++i) text += kWords[rng.below(7, static_cast<std::uint64_t>(i))];
  return text;
}

// Steps with a warm-up, a falling rate, clipping, parts of batches and decay; a model with two tables
// of rows, of which a step reads some, in its middle block. No batch statistics.
Recipe recipe_in(const fs::path& folder) {
  write_file(folder / "text.txt", text_of(800));
  Recipe recipe;
  recipe.data.train = (folder / "text.txt").string();
  recipe.data.tokenizer = "bytes";
  recipe.model.layers = 3;
  recipe.model.dim = 16;
  recipe.model.context = 8;
  recipe.model.positions = ck::Positions::learned;
  recipe.model.attention = ck::Causal{2, 8};
  recipe.model.feed_forward = ck::Dense{24};
  recipe.model.rules.emplace_back();
  recipe.model.rules[0].layers.read("middle", {"test", "layers"});
  recipe.model.rules[0].changes = Json::parse(R"({"feed_forward": {"kind": "peer", "experts": 1024,
      "router": {"heads": 2, "experts_per_head": 2, "query": {"kind": "linear", "key_dim": 8,
                                                               "norm": "layer"}}}})");
  TrainingConfig& t = recipe.training;
  t.steps = 40, t.schedule_steps = 40, t.warmup = 8;
  t.streams = 4, t.accumulate = 2;
  t.optimizer = OptimizerKind::adamw;
  t.weight_decay = 0.1, t.learning_rate = 3e-3, t.clip_norm = 0.5;
  return recipe;
}

// All parameters by name, tables and tensors alike, as leaves over the model's memory.
class Leaves final : public model::ParameterVisitor {
 public:
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    all.emplace_back(p.name, weight->leaf());
  }
  void tensor(const model::Parameter& p, Tensor& value) override {
    if (p.trainable) all.emplace_back(p.name, value);
  }
  void table(const model::Parameter& p, model::RowTablePtr& table) override {
    all.emplace_back(p.name, table->values().detach().requires_grad_());
    tables.emplace_back(table, all.back().second);
  }
  std::vector<std::pair<std::string, Tensor>> all;
  std::vector<std::pair<model::RowTablePtr, Tensor>> tables;
};

struct Dense {
  std::unique_ptr<model::Model> model;
  Leaves leaves;
  double clipped = 0, untouched = 0;  // shares of the steps, and of a table's rows in a step
};

// The same run by Adam over whole tables, whose gradients are zero where no token came, each batch
// passed at once.
Dense dense_run(const Recipe& recipe, const fs::path& data) {
  const auto tokens = std::make_shared<const text::TokenFile>(data);
  ck::ModelConfig config = recipe.model;
  config.vocab_size = tokens->info().vocab_size;
  Dense run{model::make_model(config), {}};
  const TrainingConfig& t = recipe.training;
  model::initialize(*run.model, static_cast<std::uint64_t>(t.seed));
  run.model->visit(run.leaves);
  std::vector<std::unique_ptr<OptimizerGroup>> groups;
  groups.push_back(std::make_unique<DenseGroup>(run.leaves.all, t, test_executor()));
  Optimizer optimizer(std::move(groups), t.clip_norm);
  const text::BatchStream batches(tokens, t.streams, config.context);
  model::Memory memory;
  for (std::int64_t step = 0; step < t.steps; ++step) {
    const text::Batch batch = batches.at(step);
    if (batch.starts_epoch) memory.reset();
    model::Pass pass = testing::test_pass(/*train=*/true);
    const auto ids = [&](const std::vector<text::TokenId>& list) {
      return torch::tensor(at::ArrayRef<text::TokenId>(list), torch::kInt64)
          .view({t.streams, config.context});
    };
    run.model->loss({ids(batch.ids), ids(batch.targets)}, memory, pass).total.backward();
    for (auto& [table, leaf] : run.leaves.tables) {
      const model::RowGradient gradient = table->take_gradient();
      leaf.mutable_grad() =
          torch::zeros_like(table->values()).index_add_(0, gradient.rows_N, gradient.grad_ND);
      run.untouched += 1 - static_cast<double>(gradient.rows_N.size(0)) /
                               static_cast<double>(leaf.size(0) * 2 * t.steps);
    }
    const double norm = optimizer.step(learning_rate(t.learning_rate, step, t.warmup, t.horizon()));
    run.clipped += (norm > t.clip_norm) / static_cast<double>(t.steps);
  }
  return run;
}

// Parameters of a saved run by name.
std::map<std::string, Tensor> saved_in(const fs::path& folder) {
  const ck::ModelConfig config = model::load_config(folder).model;
  const auto saved = model::make_model(config);
  model::initialize(*saved, 1);
  model::load_parameters(*saved, folder);
  Leaves leaves;
  saved->visit(leaves);
  std::map<std::string, Tensor> all;
  for (const auto& [name, value] : leaves.all) all[name] = value.detach().clone();
  return all;
}

kernels::Run run_here() {
  kernels::Run run;
  run.executor = &test_executor();
  return run;
}

// Forty steps in another order of sums.
constexpr double kClose = 3e-5;

// A run with tables of rows, stopped and resumed in the middle, against the dense one.
void expect_equal_to_dense(double epsilon, double of_tables) {
  const test::TemporaryFolder folder;
  Recipe recipe = recipe_in(folder.path());
  recipe.training.epsilon = epsilon;
  const fs::path out = folder.path() / "run";
  Recipe half = recipe;
  half.training.steps = 23;
  train(half, out, false, run_here());
  train(recipe, out, true, run_here());

  const Dense dense = dense_run(recipe, out / "data");
  // Else the test would show nothing.
  EXPECT_GT(dense.clipped, 0.1);
  EXPECT_GT(dense.untouched, 0.6);
  const auto rows = saved_in(out);
  ASSERT_EQ(rows.size(), dense.leaves.all.size());
  for (const auto& [name, value] : dense.leaves.all) {
    const bool table = name.find(".experts.") != name.npos;
    EXPECT_LE((rows.at(name) - value.detach()).abs().max().item<double>(),
              table ? of_tables : kClose)
        << name;
  }
}

TEST(Trainer, RowWiseAdamEqualsDenseAdamThroughARun) {
  expect_equal_to_dense(1e-12, kClose);
}

// Steps that a row missed are made at once with one epsilon, the mean of theirs; that shows where
// gradients are not far from it, and there a step of dense Adam is a part of the learning rate.
TEST(Trainer, RowWiseAdamEqualsDenseAdamThroughARunToAPartOfAStepWhereEpsilonCounts) {
  expect_equal_to_dense(1e-8, 0.1 * 3e-3);
}

TEST(Trainer, PartsOfABatchMakeTheStepsOfTheWhole) {
  const test::TemporaryFolder folder;
  Recipe recipe = recipe_in(folder.path());
  recipe.training.steps = recipe.training.schedule_steps = 12;
  // With a memory, which is of each part's sequences. Adam makes whole steps of gradients that are all
  // rounding, as distances have some that no softmax sees; beside this they are nothing.
  recipe.model.positions = ck::Positions::none;
  recipe.model.attention = ck::TransformerXl{2, 8, 1, 1};
  recipe.training.epsilon = 1e-6;
  std::vector<std::map<std::string, Tensor>> ends;
  for (const std::int64_t parts : {1, 2, 4}) {
    recipe.training.accumulate = parts;
    const fs::path out = folder.path() / std::to_string(parts);
    train(recipe, out, false, run_here());
    ends.push_back(saved_in(out));
  }
  for (const auto& [name, value] : ends[0])
    for (std::size_t i = 1; i < ends.size(); ++i)
      EXPECT_LE((ends[i].at(name) - value).abs().max().item<double>(), kClose) << name;
}

TEST(Trainer, PartsThatDoNotDivideABatchAreRefused) {
  const test::TemporaryFolder folder;
  Recipe recipe = recipe_in(folder.path());
  recipe.training.accumulate = 3;
  try {
    validate(recipe, "r.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "training.accumulate");
  }
}

}  // namespace
}  // namespace mote::train
