#include "base/fields.h"

#include <gtest/gtest.h>

#include "base/toml.h"

namespace mote {
namespace {

enum class Color { red, green };

struct Inner {
  std::int64_t count = 3;
  std::vector<double> weights = {0.5};
  static auto fields() {
    return std::tuple{Field{&Inner::count, "count", "how many", 1.0, 9.0},
                      Field{&Inner::weights, "weights", "one each"}};
  }
};

struct Outer {
  bool on = false;
  std::string title = "none";
  Color color = Color::green;
  Inner inner;
  static auto fields() {
    return std::tuple{
        Field{&Outer::on, "on", "whether"}, Field{&Outer::title, "title", "what it is called"},
        Field{&Outer::color, "color", "which"}, Field{&Outer::inner, "inner", "the rest"}};
  }
};

}  // namespace
}  // namespace mote

template <>
struct mote::EnumNames<mote::Color> {
  static constexpr std::array names{"red", "green"};
};

namespace mote {
namespace {

Outer read(const char* text) {
  return read_config<Outer>(Json::parse(text), "file.json");
}

// What reading `text` complains about: its field, and its message.
Error refusal(const char* text) {
  try {
    read(text);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << text << " is accepted";
  return Error(ErrorKind::value, "");
}

TEST(Fields, ReadWhatIsThereAndKeepDefaults) {
  const Outer o = read(R"({"on": true, "color": "red", "inner": {"weights": [1, 2.5]}})");
  EXPECT_TRUE(o.on);
  EXPECT_EQ(o.title, "none");
  EXPECT_EQ(o.color, Color::red);
  EXPECT_EQ(o.inner.count, 3);
  EXPECT_EQ(o.inner.weights, (std::vector<double>{1, 2.5}));
}

TEST(Fields, SurviveJsonAndToml) {
  Outer o;
  o.title = "a \"b\"\n";
  o.inner.count = 7;
  EXPECT_EQ(to_json(read(to_json(o).dump().c_str())), to_json(o));
  EXPECT_EQ(to_json(read_config<Outer>(parse_toml(to_toml(to_json(o)), "x"), "x")), to_json(o));
}

TEST(Fields, NameTheNearestKey) {
  const Error error = refusal(R"({"inner": {"cuont": 1}})");
  EXPECT_EQ(error.kind(), ErrorKind::config);
  EXPECT_EQ(error.file(), "file.json");
  EXPECT_EQ(error.field(), "inner.cuont");
  EXPECT_NE(std::string(error.what()).find("did you mean 'count'?"), std::string::npos);
}

TEST(Fields, RefuseWrongTypes) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"on": 1})", "on"},
      {R"({"title": null})", "title"},
      {R"({"color": "blue"})", "color"},
      {R"({"color": 1})", "color"},
      {R"({"inner": []})", "inner"},
      {R"({"inner": {"count": 1.5}})", "inner.count"},
      {R"({"inner": {"count": "1"}})", "inner.count"},
      {R"({"inner": {"weights": 1}})", "inner.weights"},
      {R"({"inner": {"weights": [1, true]}})", "inner.weights.1"},
      {"[]", ""}};
  for (const auto& [text, field] : cases) EXPECT_EQ(refusal(text).field(), field) << text;
}

TEST(Fields, RefuseNumbersOutOfRange) {
  const std::string message = refusal(R"({"inner": {"count": 10}})").what();
  EXPECT_EQ(message, "file.json: 'inner.count' is 10, outside 1 to 9");
  EXPECT_EQ(refusal(R"({"inner": {"count": 0}})").field(), "inner.count");
  EXPECT_EQ(refusal(R"({"inner": {"count": 18446744073709551615}})").field(), "inner.count");
}

TEST(Fields, QuoteWrongValuesInOneShortLine) {
  const std::string deep = "{\"on\": " + std::string(200000, '[') + std::string(200000, ']') + "}";
  EXPECT_STREQ(refusal(deep.c_str()).what(),
               "file.json: 'on' must be true or false, found an array");
  const std::string wide = "{\"on\": \"" + std::string(1000, 'x') + "\"}";
  EXPECT_LT(std::string(refusal(wide.c_str()).what()).size(), 120u);
}

TEST(Fields, DescribeEveryKeyWithItsDefault) {
  std::string text;
  describe_fields(Outer{}, "", text);
  EXPECT_EQ(text,
            "on = false  # whether\n"
            "title = \"none\"  # what it is called\n"
            "color = \"green\"  # which: red green\n"
            "inner.count = 3  # how many\n"
            "inner.weights = [0.5]  # one each\n");
}

}  // namespace
}  // namespace mote
