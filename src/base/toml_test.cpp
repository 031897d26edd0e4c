#include "base/toml.h"

#include <gtest/gtest.h>

namespace mote {
namespace {

TEST(Toml, KeepsTypesAndNesting) {
  const Json table = parse_toml(
      "a = 1\nb = 1.5\nc = true\nd = \"x\"\ne = [1, 2]\n[f.g]\nh = 1e-3\n", "recipe.toml");
  EXPECT_EQ(table, Json::parse(R"({"a": 1, "b": 1.5, "c": true, "d": "x", "e": [1, 2],
                                   "f": {"g": {"h": 0.001}}})"));
  EXPECT_TRUE(table["a"].is_number_integer());
  EXPECT_EQ(parse_toml(to_toml(table), "again"), table);
}

TEST(Toml, KeepsListsOfTables) {
  const Json table = parse_toml(
      "a = [[1, 2], [3]]\nb = [{x = 1, y = [{z = \"q\"}]}]\n[[c.d]]\ne = 1\n[[c.d]]\n[c.d.f]\ng = "
      "2\n",
      "recipe.toml");
  EXPECT_EQ(parse_toml(to_toml(table), "again"), table);
}

TEST(Toml, NamesTheLineOfAMistake) {
  try {
    parse_toml("a = 1\nb = \n", "recipe.toml");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::config);
    EXPECT_EQ(error.file(), "recipe.toml");
    EXPECT_EQ(std::string(error.what()).find("recipe.toml:2: "), 0u) << error.what();
  }
}

TEST(Toml, RefusesDates) {
  EXPECT_THROW(parse_toml("a = 2020-01-01\n", "recipe.toml"), Error);
}

Json overridden(const std::string& assignment) {
  Json table = Json::parse(R"({"a": 1, "b": {"c": 2}})");
  set_override(table, assignment);
  return table;
}

TEST(Override, ReadsValuesAsTomlAndElseAsText) {
  EXPECT_EQ(overridden("a=2")["a"], 2);
  EXPECT_EQ(overridden("a=1e-3")["a"], 0.001);
  EXPECT_EQ(overridden("a=true")["a"], true);
  EXPECT_EQ(overridden("a=[1, 2]")["a"], Json::array({1, 2}));
  EXPECT_EQ(overridden("a=\"2\"")["a"], "2");
  EXPECT_EQ(overridden("a=kjv:train")["a"], "kjv:train");
  EXPECT_EQ(overridden("a=x=y")["a"], "x=y");
  EXPECT_EQ(overridden("a=")["a"], "");
}

TEST(Override, ReachesNestedAndNewKeys) {
  EXPECT_EQ(overridden("b.c=5"), Json::parse(R"({"a": 1, "b": {"c": 5}})"));
  EXPECT_EQ(overridden("b.d.e=5")["b"], Json::parse(R"({"c": 2, "d": {"e": 5}})"));
}

TEST(Override, ReachesItemsOfAList) {
  Json table = Json::parse(R"({"rules": [{"a": 1}, {"a": 2}]})");
  set_override(table, "rules.1.a=5");
  EXPECT_EQ(table["rules"], Json::parse(R"([{"a": 1}, {"a": 5}])"));
  EXPECT_THROW(set_override(table, "rules.2.a=5"), Error);
  EXPECT_THROW(set_override(table, "rules.x.a=5"), Error);
  EXPECT_THROW(set_override(table, "rules.0.a.b=5"), Error) << "a number has no keys";
}

TEST(Override, StartsATableAfreshWithAnotherKind) {
  Json table = Json::parse(R"({"layer": {"kind": "mixture", "experts": 4}})");
  set_override(table, "layer.kind=mixture");
  EXPECT_EQ(table["layer"]["experts"], 4);
  set_override(table, "layer.kind=dense");
  EXPECT_EQ(table, Json::parse(R"({"layer": {"kind": "dense"}})"));
}

TEST(Override, NeedsAKeyAndAValue) {
  for (const char* text : {"a", "=1", ""}) {
    try {
      overridden(text);
      ADD_FAILURE() << text << " is accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
    }
  }
}

}  // namespace
}  // namespace mote
