#include "model/model.h"

#include <cmath>

#include "base/check.h"
#include "model/encoder_decoder.h"

namespace mote::model {
namespace {

class Initializer final : public ParameterVisitor {
 public:
  Initializer(std::uint64_t seed, const Executor& executor, torch::ScalarType tables)
      : seed_(seed), executor_(executor), tables_(tables) {}
  void matrix(const Parameter& p, WeightPtr& weight) override {
    weight = make_dense_weight(values(p));
  }
  void tensor(const Parameter& p, Tensor& value) override { value = values(p); }
  void table(const Parameter& p, RowTablePtr& table) override {
    table = std::make_shared<RowTable>(p.name, drawn(p));
    if (tables_ != torch::kFloat32) table = copied(*table, tables_);
  }

 private:
  Tensor values(const Parameter& p) const { return drawn(p).requires_grad_(p.trainable); }
  Tensor drawn(const Parameter& p) const {
    return initial_values(p.shape, p.init, p.name, seed_, executor_);
  }
  const std::uint64_t seed_;
  const Executor& executor_;
  const torch::ScalarType tables_;
};

class Collector final : public ParameterVisitor {
 public:
  Trainable found;
  void matrix(const Parameter& p, WeightPtr& weight) override {
    if (!p.trainable) return;
    const Tensor leaf = weight->leaf();
    if (!leaf.defined())
      throw Error(ErrorKind::unsupported,
                  concat("'", p.name, "' is stored as ", weight->storage(),
                         " and is not to be trained; train the model it was made from"))
          .at(p.name);
    found.tensors.emplace_back(p.name, leaf);
  }
  void tensor(const Parameter& p, Tensor& value) override {
    if (p.trainable) found.tensors.emplace_back(p.name, value);
  }
  void table(const Parameter& p, RowTablePtr& table) override {
    if (p.trainable) found.tables.push_back(table);
  }
};

class Counter final : public ParameterVisitor {
 public:
  ParameterCounts counts;
  void matrix(const Parameter& p, WeightPtr&) override { add(p); }
  void tensor(const Parameter& p, Tensor&) override {
    if (p.role != Role::buffer) add(p);
  }
  void table(const Parameter& p, RowTablePtr&) override { add(p); }

 private:
  void add(const Parameter& p) {
    const std::int64_t all = p.count(), active = std::llround(static_cast<double>(all) * p.active);
    counts.total += all, counts.active += active;
    if (p.name.find(".feed_forward.") == std::string::npos && !p.name.starts_with("router_cell."))
      return;
    counts.feed_forward += all, counts.feed_forward_active += active;
  }
};

}  // namespace

Tensor last_position(const Tensor& hidden_BTD) {
  const std::int64_t length = hidden_BTD.size(1);
  return length == 1 ? hidden_BTD : hidden_BTD.narrow(1, length - 1, 1);
}

void initialize(Model& model, std::uint64_t seed, const Executor& executor,
                torch::ScalarType tables) {
  Initializer initializer(seed, executor, tables);
  model.visit(initializer);
}

void store_tables_as(Model& model, torch::ScalarType type) {
  class Converter final : public ParameterVisitor {
   public:
    explicit Converter(torch::ScalarType type) : type_(type) {}
    void matrix(const Parameter&, WeightPtr&) override {}
    void tensor(const Parameter&, Tensor&) override {}
    void table(const Parameter&, RowTablePtr& table) override {
      if (table->values().scalar_type() != type_) table = copied(*table, type_);
    }

   private:
    const torch::ScalarType type_;
  };
  Converter converter(type);
  model.visit(converter);
}

Trainable trainable_parameters(Model& model) {
  Collector collector;
  model.visit(collector);
  return collector.found;
}

ParameterCounts count_parameters(Model& model) {
  Counter counter;
  model.visit(counter);
  return counter.counts;
}

ParameterCounts count_parameters(const ModelConfig& config) {
  return count_parameters(*make_model(config));
}

void Model::read_source(const Source&, ForwardState&) const {
  throw Error(ErrorKind::unsupported, "the model has no encoder, and was given a source to read");
}

std::unique_ptr<Model> make_model(const ModelConfig& config) {
  if (checkpoint::reads_source(config)) return std::make_unique<EncoderDecoder>(config);
  return std::make_unique<LanguageModel>(config);
}

}  // namespace mote::model
