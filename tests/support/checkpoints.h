// What tests on reference checkpoints share: what the original computed, what a pass gave, a model's
// weights by name.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "checkpoint/safetensors.h"
#include "model/observer.h"
#include "model/saved.h"
#include "tests/support/fixture_kinds.h"
#include "tests/support/models.h"

namespace mote::testing {

using model::ModelConfig;
namespace fs = std::filesystem;

// What the original implementation computed.
class Expected {
 public:
  explicit Expected(const fs::path& folder)
      : file_(std::make_shared<checkpoint::SafetensorsFile>(test::expectations_of(folder) /
                                                            "expected.safetensors")),
        used_(*file_) {}

  bool has(const std::string& name) const { return used_.has(name); }
  Tensor get(const std::string& name) const {
    return model::tensor_over(used_.at(name), file_, name, "fixture");
  }
  Tensor ints(const std::string& name) const {
    const checkpoint::Tensor& stored = used_.at(name);
    return torch::tensor(stored.copied<std::int64_t>()).view(stored.shape);
  }
  // Ones and zeros of U8.
  Tensor flags(const std::string& name) const {
    const checkpoint::Tensor& stored = used_.at(name);
    return torch::tensor(stored.copied<std::uint8_t>()).view(stored.shape).to(torch::kInt64);
  }
  void expect(const Tensor& got, const std::string& name) const {
    const Tensor want = get(name);
    expect_close(got.view(want.sizes()), want, 1e-4, name);
  }
  // But for what is read elsewhere.
  void expect_all_compared(const std::set<std::string>& elsewhere) const {
    EXPECT_NO_THROW(
        used_.check_all_used([&](const std::string& name) { return elsewhere.contains(name); }));
  }

 private:
  const std::shared_ptr<checkpoint::SafetensorsFile> file_;
  const checkpoint::UsedTensors used_;
};

// Keeps what every block and its two layers give, by name, and how layers of experts route.
class Outputs final : public model::Observer {
 public:
  bool wants(const std::string& name) const override { return name.ends_with(".router.weight"); }
  void saw(const std::string& name, const Tensor& x, const model::ops::StackRows&) override {
    given[name] = x;
  }
  void routed(const std::string& layer, const model::ops::Assignment& assignment) override {
    assignments[layer] = assignment;
  }
  void gave(const std::string& layer, const Tensor& y) override { given[layer] = y; }
  void left(const std::string& block, const Tensor& x_BTD) override { given[block] = x_BTD; }
  std::map<std::string, Tensor> given;
  std::map<std::string, model::ops::Assignment> assignments;
};

// The weights and biases of a model by name.
class Weights final : public model::ParameterVisitor {
 public:
  explicit Weights(model::Model& model) { model.visit(*this); }
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    weights[p.name] = weight;
  }
  void tensor(const model::Parameter& p, Tensor& value) override { tensors[p.name] = value; }
  std::map<std::string, model::WeightPtr> weights;
  std::map<std::string, Tensor> tensors;
};

// The gradient of a parameter as its family's files have it. Of an expert that no token used they may have
// none: it is 0.
inline Tensor stored_gradient(const std::string& name, const Tensor& value,
                              const model::SavedConfig& saved,
                              const std::shared_ptr<checkpoint::SafetensorsFile>& file) {
  const checkpoint::StoredTensor stored = saved.stored(name);
  const auto of = [&](const std::string& tensor, const std::vector<std::int64_t>& shape) {
    if (!file->has(tensor) && !stored.layout.mxfp4 && tensor != stored.name)
      return torch::zeros(shape);
    return model::stored_tensor({name, shape}, {tensor, stored.layout}, *file, file);
  };
  if (!checkpoint::has_experts(stored.name)) return of(stored.name, value.sizes().vec());
  std::vector<Tensor> experts;
  for (std::int64_t e = 0; e < value.size(0); ++e)
    experts.push_back(of(checkpoint::name_of_expert(stored.name, e), value.sizes().slice(1).vec()));
  return torch::stack(experts);
}

// Gradients of all that is trained, against a file that has them by the names of `saved`.
inline void expect_gradients_of(model::Model& model, const fs::path& path,
                                const model::SavedConfig& saved) {
  const auto file = std::make_shared<checkpoint::SafetensorsFile>(path);
  for (const auto& [name, value] : model::trainable_parameters(model).tensors) {
    const Tensor grad = stored_gradient(name, value, saved, file);
    const double largest = std::max(1e-30, grad.abs().max().item<double>());
    expect_close(value.grad() / largest, grad / largest, 1e-3, name);
  }
}

// What mote saves of a foreign model is the same model, and the same bytes when it is saved again. Gives
// how many checkpoints of these kinds there were.
template <class Kinds>
std::int64_t expect_saved_again_byte_for_byte(const Kinds& kinds) {
  const test::TemporaryFolder scratch;
  std::int64_t saved = 0;
  for (const char* kind : kinds)
    for (const fs::path& folder : test::fixtures_of_kind(concat("checkpoint:", kind))) {
      SCOPED_TRACE(folder.string());
      const fs::path once = scratch.path() / concat(saved, "a"),
                     again = scratch.path() / concat(saved, "b");
      fs::create_directories(once);
      fs::create_directories(again);
      const auto first = model::load_model(folder, serial());
      model::save_model(*first, once);
      const auto loaded = model::load_model(once, serial());
      model::save_model(*loaded, again);
      for (const char* file : {"config.json", "model.safetensors"})
        EXPECT_EQ(read_file(once / file), read_file(again / file)) << file;
      const torch::NoGradGuard no_grad;
      const model::Pass pass = test_pass();
      const Tensor ids_BT = torch::arange(1, 13).view({2, 6});
      const auto hidden = [&](const model::Model& model) {
        model::ForwardState state(pass);
        if (checkpoint::reads_source(model.config())) model.read_source({ids_BT, {}}, state);
        return model.hidden(ids_BT, state);
      };
      EXPECT_TRUE(hidden(*first).equal(hidden(*loaded)));
      ++saved;
    }
  return saved;
}

}  // namespace mote::testing
