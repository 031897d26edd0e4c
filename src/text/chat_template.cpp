#include "text/chat_template.h"

#include "base/check.h"
#include "base/file.h"
#include "text/json_reader.h"

namespace mote::text {
namespace {

jinja::Template parsed(const std::string& source, const std::string& place) {
  try {
    return jinja::Template(source);
  } catch (const Error& error) {
    throw Error(ErrorKind::file, concat(place, ": ", error.what())).in(place);
  }
}

}  // namespace

ChatTemplate::ChatTemplate(const std::string& source, std::string place)
    : source_(source), place_(std::move(place)), template_(parsed(source_, place_)) {}

std::string ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                                 const Tokenizer& tokenizer, const Json& more) const {
  MOTE_CHECK(messages.is_array(), "messages are a list of {\"role\", \"content\"}, not a ",
             messages.type_name());
  for (std::size_t i = 0; i < messages.size(); ++i)
    MOTE_CHECK(messages[i].is_object() && messages[i].contains("role"), "messages[", i,
               "] has no role");
  Json variables = {{"messages", messages}, {"add_generation_prompt", add_generation_prompt}};
  const TokenRoles& roles = tokenizer.roles();
  const auto role = [&](const char* name, const std::optional<TokenId>& id) {
    variables[name] = id ? tokenizer.name(*id) : "";
  };
  role("bos_token", roles.begin);
  role("eos_token", roles.end);
  role("pad_token", roles.padding);
  role("unk_token", roles.unknown);
  for (const auto& [name, value] : more.items()) variables[name] = value;
  try {
    return template_.render(variables);
  } catch (const Error& error) {
    throw Error(error.kind(), concat(place_, ": ", error.what())).in(place_);
  }
}

std::optional<ChatTemplate> load_chat_template(const std::filesystem::path& folder,
                                               const std::string& name) {
  std::error_code ignored;
  if (const fs::path file = folder / kChatTemplateFile; fs::exists(file, ignored))
    return ChatTemplate(read_file(file, kMostSettingsBytes), file.string());
  const fs::path file = folder / "tokenizer_config.json";
  if (!fs::exists(file, ignored)) return std::nullopt;
  const JsonReader reader(file.string());
  const SortedJson root = reader.parse(read_file(file, kMostSettingsBytes));
  const SortedJson& found = reader.optional(root, "chat_template");
  if (found.is_null()) return std::nullopt;
  const std::string place = file.string() + ": chat_template";
  if (found.is_string()) return ChatTemplate(found.get<std::string>(), place);
  if (!found.is_array())
    reader.fail("chat_template", "is neither text nor a list of {name, template}");
  std::string names;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string field = concat("chat_template[", i, "]");
    const std::string each = reader.text(found[i], "name", field);
    if (each == name) return ChatTemplate(reader.text(found[i], "template", field), place);
    names += (names.empty() ? "" : ", ") + each;
  }
  reader.fail("chat_template", "has no template '" + name + "'; it has " + names);
}

}  // namespace mote::text
