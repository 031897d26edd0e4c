#include "train/first_model.h"

#include <map>

#include "base/check.h"
#include "base/log.h"
#include "model/nonfinite.h"
#include "model/saved.h"
#include "train/tokens.h"

namespace mote::train {
namespace {

namespace fs = std::filesystem;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

Shapes shapes_of(const checkpoint::ModelConfig& config) {
  class Lister final : public model::ParameterVisitor {
   public:
    void matrix(const model::Parameter& p, model::WeightPtr&) override { found[p.name] = p.shape; }
    void tensor(const model::Parameter& p, Tensor&) override { found[p.name] = p.shape; }
    void table(const model::Parameter& p, model::RowTablePtr&) override { found[p.name] = p.shape; }
    Shapes found;
  } lister;
  model::make_model(config)->visit(lister);
  return lister.found;
}

[[noreturn]] void refuse(const std::string& from, const std::string& name, const std::string& there,
                         const std::string& wanted) {
  throw Error(ErrorKind::config,
              concat("training.from: tensor '", name, "' is ", there, " in ", from, " and ", wanted,
                     " in the recipe's model; make [model] the same (", from, "/config.json)"))
      .in(from)
      .at(name);
}

void check_shapes(const checkpoint::ModelConfig& theirs, const checkpoint::ModelConfig& ours,
                  const std::string& from) {
  const Shapes there = shapes_of(theirs), wanted = shapes_of(ours);
  const auto text = [](const Shapes& shapes, const std::string& name) {
    const auto found = shapes.find(name);
    return found == shapes.end() ? "missing" : concat(torch::IntArrayRef(found->second));
  };
  for (const Shapes* shapes : {&there, &wanted})
    for (const auto& [name, unused] : *shapes)
      if (text(there, name) != text(wanted, name))
        refuse(from, name, text(there, name), text(wanted, name));
}

}  // namespace

checkpoint::ModelConfig model_for(const Recipe& recipe, const text::Tokenizer& tokenizer,
                                  const fs::path& saved) {
  const checkpoint::ModelConfig config =
      model_of(recipe, model::load_config(saved).model.vocab_size);
  if (config.vocab_size < tokenizer.vocab_size())
    throw Error(ErrorKind::file, concat(saved.string(), ": the embedding has ", config.vocab_size,
                                        " rows, the tokenizer ", tokenizer.vocab_size(),
                                        " tokens; use the model's own tokenizer"))
        .in(saved.string())
        .at("embedding.weight");
  return config;
}

std::unique_ptr<model::Model> first_model(const Recipe& recipe, const text::Tokenizer& tokenizer,
                                          const Executor& executor) {
  const std::string& from = recipe.training.from;
  checkpoint::ModelConfig config = model_of(recipe, tokenizer.vocab_size());
  const torch::ScalarType tables = stored_type(recipe.training.tables.values);
  if (from.empty()) {
    auto made = model::make_model(config);
    model::initialize(*made, static_cast<std::uint64_t>(recipe.training.seed), executor, tables);
    return made;
  }
  const fs::path folder = model::find_model(from);
  config = model_for(recipe, tokenizer, folder);
  const checkpoint::ModelConfig saved = model::load_config(folder).model;
  check_shapes(saved, config, folder.string());
  if (const std::string field = changed_model(config, saved); !field.empty())
    log::warn(concat("model.", field, " is not what ", folder.string(), " was trained with"));
  auto made = model::make_model(config);
  model::load_parameters(*made, folder);
  model::check_finite(*made, folder.string());
  model::store_tables_as(*made, tables);
  return made;
}

kernels::Precision training_precision(const TrainingConfig& config, const kernels::Run& run) {
  if (!config.bf16) return kernels::Precision::f32;
  kernels::Gemm like;
  like.precision = kernels::Precision::bf16;
  if (kernels::gemm_variant(like, run).isa >= kernels::Isa::avx512_bf16)
    return kernels::Precision::bf16;
  log::warn(
      "training.bf16 is true, but this processor (or --isa) has no bfloat16 products: training in "
      "float32");
  return kernels::Precision::f32;
}

}  // namespace mote::train
