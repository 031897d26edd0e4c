#include "base/file.h"
#include "cli/command.h"
#include "model/saved.h"

namespace mote::cli {
namespace {

// What the file holds of one tensor of the model: the tensor itself, or its packed parts together.
class Lister final : public model::ParameterVisitor {
 public:
  Json tensors = Json::array();
  void matrix(const std::string& name, model::WeightPtr& weight, const model::WeightShape& s,
              const model::Init&) override {
    Json shape = s.stacked ? Json{s.experts, s.out, s.in} : Json{s.out, s.in};
    add(name, shape, weight->storage(), weight->bits(), s.count());
  }
  void tensor(const std::string& name, Tensor& value, const std::vector<std::int64_t>& shape,
              const model::Init&) override {
    add(name, shape, "f32", static_cast<std::uint64_t>(value.numel()) * 32, value.numel());
  }

 private:
  void add(const std::string& name, const Json& shape, const std::string& dtype, std::uint64_t bits,
           std::int64_t count) {
    tensors.push_back(
        {{"name", name},
         {"shape", shape},
         {"dtype", dtype},
         {"bytes", (bits + 7) / 8},
         {"bits_per_weight", static_cast<double>(bits) / static_cast<double>(count)}});
  }
};

class Inspect final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "a model's folder, or its model.safetensors")->required();
    app.add_flag("--tensors", tensors_, "list the tensors too");
  }

  Json run(const Context& context) override {
    const std::filesystem::path folder = model::find_model(model_);
    const model::SavedConfig saved = model::load_config(folder);
    const auto model = model::load_model(folder, *context.run.executor);
    Lister lister;
    model->visit(lister);
    const model::ParameterCounts counts = model::count_parameters(saved.model);
    const model::FeedForwardConfig& ff = saved.model.feed_forward;
    Json facts = {{"family", "mote"},
                  {"format", saved.quantization ? concat("compressed to ", saved.quantization->bits,
                                                         " by ", saved.quantization->method)
                                                : "safetensors"},
                  {"parameters",
                   {{"total", counts.total},
                    {"active", counts.active},
                    {"feed_forward", counts.feed_forward},
                    {"feed_forward_active", counts.feed_forward_active}}}};
    if (ff.kind == model::FeedForwardKind::sigma_moe) {
      facts["experts_per_layer"] = ff.experts;
      facts["experts_per_token"] = ff.experts_per_token;
    }
    facts["layers"] = saved.model.layers;
    facts["dtype"] = "float32";
    facts["bytes"] = std::filesystem::file_size(folder / "model.safetensors");
    if (saved.quantization) facts["made_from"] = to_json(saved.quantization->made_from);
    if (tensors_) facts["tensors"] = lister.tensors;
    return facts;
  }

 private:
  std::string model_;
  bool tensors_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_inspect() {
  return std::make_unique<Inspect>();
}

}  // namespace mote::cli
