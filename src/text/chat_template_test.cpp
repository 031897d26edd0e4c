#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/fixture_kinds.h"
#include "text/bpe.h"

namespace mote::text {
namespace {

const char* const kTurns =
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{{ eos_token }}";

TEST(FixturesChatTemplate, ConversationsAreTheReferencesTexts) {
  std::size_t compared = 0;
  for (const fs::path& folder : test::fixtures_of_kind("tokenizer:byte-level-bpe")) {
    const auto chat = load_chat_template(folder);
    const Json cases = test::read_json(folder / "cases.json");
    if (!chat || !cases.contains("chat")) continue;
    const auto tokenizer = load_tokenizer(folder);
    for (const Json& one : cases["chat"]) {
      const std::string text =
          chat->render(one["messages"], one["add_generation_prompt"], *tokenizer);
      EXPECT_EQ(text, one["text"]);
      ++compared;
    }
  }
  if (compared == 0) GTEST_SKIP() << "no conversations at " << test::fixtures_folder();
}

TEST(ChatTemplate, IsReadFromItsFileBeforeTheConfig) {
  const test::TemporaryFolder folder;
  const auto bytes = make_byte_tokenizer();
  const Json messages = {{{"role", "user"}, {"content", "Hi"}}};
  EXPECT_FALSE(load_chat_template(folder.path()));
  folder.file("tokenizer_config.json", Json{{"chat_template", kTurns}}.dump());
  EXPECT_EQ(load_chat_template(folder.path())->render(messages, true, *bytes), "[user]Hi");
  folder.file("chat_template.jinja", "file");
  EXPECT_EQ(load_chat_template(folder.path())->render(messages, true, *bytes), "file");
}

TEST(ChatTemplate, TakesTheNamedOneOfSeveral) {
  const test::TemporaryFolder folder;
  const Json list = {{{"name", "default"}, {"template", "one"}},
                     {{"name", "tool_use"}, {"template", "two"}}};
  folder.file("tokenizer_config.json", Json{{"chat_template", list}}.dump());
  const auto bytes = make_byte_tokenizer();
  EXPECT_EQ(load_chat_template(folder.path(), "tool_use")->render(Json::array(), false, *bytes),
            "two");
  EXPECT_THROW(load_chat_template(folder.path(), "rag"), Error);
}

TEST(ChatTemplate, NamesFileLineAndReason) {
  const test::TemporaryFolder folder;
  const auto path = folder.file("chat_template.jinja", "\n{{ raise_exception('no system role') }}");
  const auto bytes = make_byte_tokenizer();
  try {
    load_chat_template(folder.path())->render(Json::array(), false, *bytes);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              path.string() + ": line 2: the template refuses the conversation: no system role");
  }
  folder.file("chat_template.jinja", "{% for %}");
  try {
    load_chat_template(folder.path());
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::file);
    EXPECT_EQ(error.file(), path.string());
  }
}

TEST(ChatTemplate, RefusesMessagesWithoutRoles) {
  const ChatTemplate chat(kTurns, "x");
  const auto bytes = make_byte_tokenizer();
  EXPECT_THROW(chat.render(Json::object(), false, *bytes), Error);
  EXPECT_THROW(chat.render({{{"content", "Hi"}}}, false, *bytes), Error);
}

}  // namespace
}  // namespace mote::text
