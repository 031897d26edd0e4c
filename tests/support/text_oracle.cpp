// What a folder's tokenizer and chat template make of lines of JSON, for comparison with the
// original programs: text_oracle FOLDER < questions > answers.
//   "text" -> {"ids": [...], "alone": [...], "decoded": ..., "streamed": ...}
//   {"template": ..., "variables": {...}} -> {"text": ...} or {"error": ...}
//   {"repeat": "text", "times": n} -> {"bytes": ..., "seconds": ...}
#include <chrono>
#include <iostream>

#include "base/check.h"
#include "base/json_text.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace mote;

Json encoded(const text::Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text, text::Specials::recognised);
  text::StreamDecoder decoder(tokenizer, text::StreamDecoder::From::start,
                              text::Specials::recognised);
  std::string streamed;
  for (const text::TokenId id : ids) streamed += decoder.push(id);
  streamed += decoder.finish();
  return {
      {"ids", ids},
      {"alone", tokenizer.encode_alone(text, text::Specials::recognised)},
      {"decoded", text::replace_invalid_utf8(tokenizer.decode(ids, text::Specials::recognised))},
      {"streamed", streamed}};
}

Json rendered(const Json& question) {
  try {
    return {{"text", text::jinja::Template(question["template"].get<std::string>())
                         .render(question["variables"])}};
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

Json timed(const text::Tokenizer& tokenizer, const Json& question) {
  const auto text = question["repeat"].get<std::string>();
  const auto start = std::chrono::steady_clock::now();
  std::size_t tokens = 0;
  for (int i = 0; i < question["times"].get<int>(); ++i) tokens += tokenizer.encode(text).size();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {{"bytes", text.size()}, {"tokens", tokens}, {"seconds", seconds.count()}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto tokenizer = argc > 1 ? text::load_tokenizer(argv[1]) : nullptr;
    for (std::string line; std::getline(std::cin, line);) {
      const Json question = Json::parse(line);
      const Json answer = question.is_string() ? encoded(*tokenizer, question.get<std::string>())
                          : question.contains("template") ? rendered(question)
                                                          : timed(*tokenizer, question);
      std::cout << json_text(answer) << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
