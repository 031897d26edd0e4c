// A conversation as the text that a model was trained on, by the model's own template.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/fields.h"
#include "text/jinja/template.h"
#include "text/tokenizer.h"

namespace mote::text {

class ChatTemplate {
 public:
  // `source` is Jinja (a tokenizer's file or GGUF's tokenizer.chat_template holds it), `place` names
  // it in messages: a file, and the field in it.
  ChatTemplate(const std::string& source, std::string place);

  // `messages` is a list of {"role": ..., "content": ...}. Seen by the template: messages,
  // add_generation_prompt, bos_token, eos_token, pad_token, unk_token of `tokenizer` ("" for none),
  // and the members of `more` (tools, enable_thinking, ...; an object). Encode the result with
  // Specials::recognised and nothing around it. Throws Error(value) with the line; the template may
  // refuse a conversation itself.
  std::string render(const Json& messages, bool add_generation_prompt, const Tokenizer& tokenizer,
                     const Json& more = Json::object()) const;

  const std::string& source() const { return source_; }

 private:
  std::string source_, place_;
  jinja::Template template_;
};

inline constexpr const char* kChatTemplateFile = "chat_template.jinja";

// Of a folder: the file chat_template.jinja, else chat_template in tokenizer_config.json: a text, or a
// list of {name, template}, of which `name` is taken. Nothing if there is none.
std::optional<ChatTemplate> load_chat_template(const std::filesystem::path& folder,
                                               const std::string& name = "default");

}  // namespace mote::text
