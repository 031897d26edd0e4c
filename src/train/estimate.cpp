#include "train/estimate.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "train/first_model.h"
#include "train/run_folder.h"
#include "train/tokens.h"

namespace mote::train {
namespace {

// Numbers, as doubles: any product of a recipe's sizes is one.
struct Kept {
  double step = 0;   // until backward has passed, of all layers
  double layer = 0;  // beside that, while one layer is at work: the largest
};

// At least, of tokens in `sequences`: where all tokens want one expert, capacity leaves only its.
double routed_rows(const checkpoint::Mixture& mixture, double tokens, double sequences) {
  const checkpoint::RouterConfig& router = mixture.router;
  const double all = tokens * static_cast<double>(router.experts_per_token),
               experts = static_cast<double>(mixture.experts);
  if (const auto* count = router.capacity.get_if<checkpoint::CapacityCount>()) {
    const double groups = count->over == checkpoint::Scope::batch ? 1 : sequences;
    return std::min(all / static_cast<double>(mixture.experts),
                    groups * static_cast<double>(count->count));
  }
  if (const auto* factor = router.capacity.get_if<checkpoint::CapacityFactor>())
    return std::min(1.0, factor->factor) * all / experts;
  return all;
}

// Of a feed-forward layer over n tokens of `streams` sequences; layer: while it is at work.
Kept kept_by(const checkpoint::Dense& c, double n, double d, double, bool dropout) {
  const double hidden = n * static_cast<double>(c.width);
  // relu is made in its product, other units from what the first matrices give.
  const bool apart = c.gated || c.activation != checkpoint::NeuronActivation::relu;
  const double before = apart ? (c.gated ? 2 : 1) * hidden : 0;
  return {before + hidden * (dropout ? 3 : 1), before + 2 * n * d + hidden * (dropout ? 4 : 2)};
}
Kept kept_by(const checkpoint::TopK& c, double n, double d, double streams, bool dropout) {
  Kept kept = kept_by(checkpoint::Dense{c.width}, n, d, streams, dropout);
  if (c.units_per_token < c.width) kept.step += n * static_cast<double>(c.width);
  return kept;
}
Kept kept_by(const checkpoint::Mixture& c, double n, double d, double streams, bool) {
  const auto experts = static_cast<double>(c.experts), width = static_cast<double>(c.expert_width);
  const double rows = routed_rows(c, n, streams);
  const checkpoint::RouterConfig& router = c.router;
  const bool scored = !router.score.get_if<checkpoint::HashScore>() &&
                      !router.score.get_if<checkpoint::AvgKScore>(),
             hides = router.expert_dropout > 0, regular = router.entropy_weight > 0;
  Kept kept{n * experts * (scored + hides + regular) + rows * (width + 8),
            2 * n * d + rows * (d + width)};
  // relu is made in its product, other units from what the first matrices give.
  if (c.gated || c.activation != checkpoint::NeuronActivation::relu)
    kept.step += (c.gated ? 2 : 1) * rows * width;
  if (c.shared.width > 0)
    kept.step +=
        kept_by(checkpoint::Dense{c.shared.width, c.activation, c.gated, false}, n, d, 0, false)
            .step;
  return kept;
}
// Queries that are not the input itself.
double queries(const checkpoint::ProductKeyRouter& router, double n) {
  const auto* linear = router.query.get_if<checkpoint::LinearQuery>();
  return linear ? n * static_cast<double>(router.heads * linear->key_dim) : 0;
}
double picks(const checkpoint::ProductKeyRouter& router, double n) {
  return n * static_cast<double>(router.heads * router.experts_per_head);
}
Kept kept_by(const checkpoint::ProductKey& c, double n, double d, double, bool) {
  const double outputs = c.gated_output ? 4 * n * d : n * d;
  if (c.mode == checkpoint::MemoryMode::dense_head_sum) {
    const double scores = n * static_cast<double>(c.values);
    return {queries(c.router, n) + scores + outputs, 2 * n * d + 2 * scores};
  }
  // The index and the gate of each pick.
  return {queries(c.router, n) + 2 * picks(c.router, n) + outputs, 2 * n * d};
}
Kept kept_by(const checkpoint::Peer& c, double n, double d, double, bool) {
  // Index and gate, hidden unit before and after the activation; of gated experts another one.
  return {queries(c.router, n) + (c.gated ? 6 : 4) * picks(c.router, n), 2 * n * d};
}

// Of the blocks of a stack over n tokens; `source`: positions of what its cross attention reads, 0: it has
// none.
void add_stack(const Recipe& recipe, const checkpoint::ModelConfig& config, double n, double source,
               Kept& kept) {
  const TrainingConfig& training = recipe.training;
  const auto streams = static_cast<double>(training.streams_at_once()),
             context = static_cast<double>(config.context), d = static_cast<double>(config.dim);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const checkpoint::LayerConfig layer = checkpoint::layer_config(config, i);
    const auto heads = static_cast<double>(checkpoint::heads_of(layer.attention)),
               head_dim = static_cast<double>(checkpoint::head_dim_of(layer.attention)),
               value_dim = static_cast<double>(checkpoint::value_dim_of(layer.attention)),
               key_heads = static_cast<double>(checkpoint::key_heads_of(layer.attention)),
               inner = heads * head_dim, outer = heads * value_dim,
               keys_and_values = key_heads * (head_dim + value_dim);
    const auto* xl = layer.attention.get_if<checkpoint::TransformerXl>();
    // At least: how many blocks there are to remember, the text will say.
    const bool remembers = xl && xl->memory_blocks > 0 && training.steps > 1;
    const double seen = remembers ? 2 * n : n;  // positions, with those remembered
    const bool dropout = layer.dropout > 0;
    // Residual stream, in and between; norms; queries, keys, values, output.
    double step = 3 * n * d + seen * d + n * (inner + outer) + seen * keys_and_values + n * heads +
                  (dropout ? 2 * n * d : 0);
    if (remembers) step += n * d + seen * d;  // what was before; both together
    if (xl) step += (remembers ? 2 : 1) * context * (d + inner);
    if (source > 0)
      step += 2 * n * d + n * (inner + outer) + source * keys_and_values + n * heads +
              (dropout ? n * d : 0);
    double work = 2 * n * d + 4 * seen * d + n * (inner + outer) + 2 * seen * keys_and_values;
    const Kept ours = layer.feed_forward.visit(
        [&](const auto& kind) { return kept_by(kind, n, d, streams, dropout); });
    step += ours.step;
    work = std::max(work, ours.layer);
    kept.step += step;
    kept.layer = std::max(kept.layer, work);
  }
}

Kept numbers_kept(const Recipe& recipe, const checkpoint::ModelConfig& config) {
  const auto streams = static_cast<double>(recipe.training.streams_at_once()),
             d = static_cast<double>(config.dim),
             vocabulary = static_cast<double>(config.vocab_size);
  const double n = streams * static_cast<double>(config.context);
  const double source =
      checkpoint::reads_source(config) ? streams * static_cast<double>(config.encoder.context) : 0;
  Kept kept;
  // Ids; embedding and last norm; the head's input and its gradient.
  kept.step = 6 * n + 3 * n * d + (config.dropout > 0 ? 2 * n * d : 0);
  kept.layer = std::min(n, 336.0) * vocabulary;  // logits (kernels/loss/head_loss)
  add_stack(recipe, config, n, source, kept);
  if (source > 0) {
    kept.step += source + 2 * source * d + (config.dropout > 0 ? 2 * source * d : 0);
    add_stack(recipe, checkpoint::encoder_of(config), source, 0, kept);
  }
  return kept;
}

// What a run holds throughout, in bytes, and of how many parameters a step makes whole gradients.
struct Held {
  double values = 0, moments = 0, with_gradient = 0;
};

Held held_by(const Recipe& recipe, const checkpoint::ModelConfig& config) {
  class Walk final : public model::ParameterVisitor {
   public:
    explicit Walk(const TablesConfig& tables) : tables_(tables) {}
    Held held;
    void matrix(const model::Parameter& p, model::WeightPtr&) override { add(p); }
    void tensor(const model::Parameter& p, Tensor&) override { add(p); }
    void table(const model::Parameter& p, model::RowTablePtr&) override {
      const auto count = static_cast<double>(p.count()), rows = static_cast<double>(p.shape[0]);
      const double moment = size(tables_.moments);
      held.values += size(tables_.values) * count;
      held.moments += moment * count + (tables_.second_moment == SecondMoment::row
                                            ? size(StoredType::f32) * rows
                                            : moment * count);
    }

   private:
    static double size(StoredType type) { return type == StoredType::bf16 ? 2 : 4; }
    void add(const model::Parameter& p) {
      const double bytes = size(StoredType::f32) * static_cast<double>(p.count());
      held.values += bytes;
      if (!p.trainable) return;
      held.moments += 2 * bytes;
      held.with_gradient += static_cast<double>(p.count());
    }
    const TablesConfig& tables_;
  };
  Walk walk(recipe.training.tables);
  model::make_model(config)->visit(walk);
  return walk.held;
}

// Of the last of the steps that are tried: the third one has what earlier ones left in memory.
double seconds_of_a_step(const Recipe& recipe, const checkpoint::ModelConfig& config,
                         const kernels::Run& run) {
  const TrainingConfig& training = recipe.training;
  const auto model = model::make_model(config);
  model::initialize(*model, static_cast<std::uint64_t>(training.seed), *run.executor,
                    stored_type(training.tables.values));
  const std::int64_t streams = training.streams_at_once();
  const Tensor ids_BT = torch::arange(streams * config.context, torch::kInt64)
                            .remainder(config.vocab_size)
                            .view({streams, config.context});
  model::TrainingBatch batch{ids_BT, ids_BT};
  if (checkpoint::reads_source(config))
    batch.source.ids_BS = torch::arange(streams * config.encoder.context, torch::kInt64)
                              .remainder(config.vocab_size)
                              .view({streams, config.encoder.context});
  model::Pass pass;
  pass.run = run;
  pass.precision = training_precision(training, run);
  pass.train = true;
  model::Memory memory;
  double seconds = 0;
  for (int i = 0; i < kStepsTried; ++i) {
    const Stopwatch stopwatch;
    const model::Memory before = memory;  // kept as a run keeps it
    model->loss(batch, memory, pass).total.backward();
    const model::Trainable parameters = model::trainable_parameters(*model);
    for (auto [name, value] : parameters.tensors) value.mutable_grad() = Tensor();
    for (const model::RowTablePtr& table : parameters.tables) table->take_gradient();
    seconds = stopwatch.seconds() * static_cast<double>(training.accumulate);
  }
  return seconds;
}

}  // namespace

double least_memory(const Recipe& recipe, std::int64_t vocab_size) {
  constexpr double kNumber = sizeof(float);
  const checkpoint::ModelConfig config = model_of(recipe, vocab_size);
  const Held held = held_by(recipe, config);
  const Kept kept = numbers_kept(recipe, config);
  // Gradients take the place of what was kept for them, but for the head's, which is made first.
  const double head = static_cast<double>(config.vocab_size) * static_cast<double>(config.dim);
  return held.values + held.moments +
         kNumber * (std::max(held.with_gradient, kept.step + head) + kept.layer);
}

void tell_warnings(const Recipe& recipe) {
  for (const auto& warnings :
       {checkpoint::training_warnings(recipe.model), checkpoint::causality_warnings(recipe.model)})
    for (const std::string& warning : warnings) log::warn("model." + warning);
}

Estimate dry_run(const Recipe& recipe, const fs::path& folder, const kernels::Run& run) {
  tell_warnings(recipe);
  const TrainingConfig& training = recipe.training;
  const std::int64_t done = folder.empty() ? 0 : RunFolder::steps_done(recipe, folder);
  const std::int64_t vocab_size = vocab_size_of(recipe, folder.empty() ? folder : folder / "data");
  const checkpoint::ModelConfig config = model_of(recipe, vocab_size);
  Estimate e;
  e.steps = training.steps - done;
  e.tokens = e.steps * training.streams *
             (config.context + (checkpoint::reads_source(config) ? config.encoder.context : 0));
  e.parameters = model::count_parameters(config);
  const double least = least_memory(recipe, vocab_size);
  e.memory_bytes = static_cast<double>(rss_bytes()) + least;
  if (least > static_cast<double>(available_memory_bytes())) return e;
  e.seconds = seconds_of_a_step(recipe, config, run) * static_cast<double>(e.steps);
  e.memory_bytes = static_cast<double>(peak_rss_bytes()) + held_by(recipe, config).moments;
  return e;
}

void check_memory(const Recipe& recipe, std::int64_t vocab_size) {
  const double needed = least_memory(recipe, vocab_size),
               there = static_cast<double>(available_memory_bytes());
  if (needed > there)
    throw Error(ErrorKind::config,
                concat("[model] and training.streams = ", recipe.training.streams,
                       " take at least ", format_bytes(needed), " of memory, ", format_bytes(there),
                       " are free; make the model, training.streams or model.context smaller"))
        .at("model");
}

}  // namespace mote::train
