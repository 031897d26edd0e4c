#include "base/json_text.h"

#include <gtest/gtest.h>

#include "base/toml.h"
#include "tests/support/files.h"

namespace mote {
namespace {

std::string keys(int count, const std::string& equals, const std::string& end) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += concat("\"k", i, "\"", equals, i, i + 1 < count ? end : "");
  return text;
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Settings, WithMoreKeysThanAnyHasAreRefused) {
  const test::TemporaryFolder folder;
  const auto json = [&](int count) {
    return folder.file("config.json", "{\"a\": [{}, {" + keys(count, ": ", ", ") + "}]}").string();
  };
  EXPECT_EQ(read_json_object(json(10'000))["a"][1].size(), 10'000u);
  EXPECT_NE(refusal([&] { read_json_object(json(60'000)); }).find("10000 keys"), std::string::npos);
  EXPECT_EQ(read_json_index(json(60'000))["a"][1].size(), 60'000u);
  const auto toml = folder.file("recipe.toml", keys(60'000, " = ", "\n"));
  EXPECT_NE(refusal([&] { read_toml(toml.string()); }).find("60000 keys"), std::string::npos);
}

TEST(Settings, WithAKeyTwiceAreRefused) {
  const test::TemporaryFolder folder;
  const auto said = [&](const std::string& text) {
    return refusal([&] { read_json_object(folder.file("config.json", text).string()); });
  };
  EXPECT_NE(said(R"({"dim": 1, "dim": 2})").find("config.json: has the key 'dim' twice"),
            std::string::npos);
  EXPECT_NE(said(R"({"a": {"dim": 1}, "b": [{"dim": 2}, {"x": 1, "x": 1}]})").find("'x' twice"),
            std::string::npos);
  EXPECT_EQ(said(R"({"a": {"dim": 1}, "dim": 2, "b": [{"dim": 2}, {"dim": {"dim": 3}}]})"),
            "accepted");
}

TEST(Settings, ThatAreNotJsonAreRefusedByLineAndColumn) {
  const test::TemporaryFolder folder;
  const std::string file = folder.file("config.json", "{\"a\":\n x}").string();
  const std::string said = refusal([&] { read_json_object(file); });
  EXPECT_TRUE(said.starts_with(file + ": is not JSON: line 2, column 2: ")) << said;
  EXPECT_NE(said.find("; put the file back"), std::string::npos) << said;
}

TEST(Settings, ThatDoNotEndAreRefused) {
  EXPECT_NE(refusal([] { read_json_object("/dev/zero"); }).find("/dev/zero: has more than"),
            std::string::npos);
  EXPECT_NE(refusal([] { read_toml("/dev/zero"); }).find("/dev/zero: has more than"),
            std::string::npos);
}

}  // namespace
}  // namespace mote
