#include "base/fields.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>

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

struct Circle {
  static constexpr const char* kKind = "circle";
  double radius = 1;
  static auto fields() { return std::tuple{Field{&Circle::radius, "radius", "how wide", 0.0}}; }
};

struct Square {
  static constexpr const char* kKind = "square";
  std::int64_t side = 2;
  Inner inner;
  static auto fields() {
    return std::tuple{Field{&Square::side, "side", "how long"},
                      Field{&Square::inner, "inner", "what is in it"}};
  }
};
using Shape = OneOf<Circle, Square>;

// A field's own class: "a-b" or a number.
struct Range {
  std::int64_t first = 0, last = 0;
  void read(const Json& json, const Place& place) {
    if (!json.is_string()) throw_wrong_type(place, "a range", json);
    std::sscanf(json.get<std::string>().c_str(), "%ld-%ld", &first, &last);
  }
  Json write() const { return concat(first, "-", last); }
};

struct Drawing {
  Shape shape;
  std::optional<std::int64_t> margin;
  std::optional<Shape> frame;
  std::vector<Shape> rest;
  Range pages;
  static auto fields() {
    return std::tuple{Field{&Drawing::shape, "shape", "the first"},
                      Field{&Drawing::margin, "margin", "white around it", 0.0, 9.0},
                      Field{&Drawing::frame, "frame", "what is around it"},
                      Field{&Drawing::rest, "rest", "the others"},
                      Field{&Drawing::pages, "pages", "where"}};
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
Drawing drawing(const std::string& text) {
  return read_config<Drawing>(parse_toml(text, "file.toml"), "file.toml");
}

// What `reading` complains about: its field, and its message.
Error refusal_of(const std::function<void()>& reading, const std::string& text) {
  try {
    reading();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << text << " is accepted";
  return Error(ErrorKind::value, "");
}
Error refusal(const char* text) {
  return refusal_of([&] { read(text); }, text);
}
Error toml_refusal(const std::string& text) {
  return refusal_of([&] { drawing(text); }, text);
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

template <class Config>
std::string description_of(const Config& defaults) {
  std::vector<FieldLine> lines;
  describe_fields(defaults, "", lines);
  std::string text;
  for (const FieldLine& line : lines) text += to_text(line) + "\n";
  return text;
}

TEST(Fields, DescribeEveryKeyWithDefaultAndRange) {
  EXPECT_EQ(description_of(Outer{}),
            "on = false  # whether (true, false)\n"
            "title = \"none\"  # what it is called\n"
            "color = \"green\"  # which (red, green)\n"
            "inner.count = 3  # how many (1 to 9)\n"
            "inner.weights = [0.5]  # one each\n");
}

TEST(OneOfField, IsTheKindThatTheTableNames) {
  EXPECT_STREQ(drawing("").shape.kind(), "circle");
  const Drawing d = drawing("[shape]\nkind = \"square\"\nside = 5\ninner.count = 4\n");
  ASSERT_NE(d.shape.get_if<Square>(), nullptr);
  EXPECT_EQ(d.shape.get_if<Square>()->side, 5);
  EXPECT_EQ(d.shape.get_if<Square>()->inner.count, 4);
  EXPECT_EQ(d.shape.get_if<Circle>(), nullptr);
  const Drawing wide = drawing("shape.radius = 2.5");
  EXPECT_EQ(wide.shape.get_if<Circle>()->radius, 2.5);
}

TEST(OneOfField, KeepsTheFieldsOfTheKindItHasAndForgetsThoseOfAnother) {
  Shape shape = Square{7, {}};
  from_json(Json::parse(R"({"inner": {"count": 5}})"), shape, Place{"f", ""});
  EXPECT_EQ(shape.get_if<Square>()->side, 7);
  from_json(Json::parse(R"({"kind": "circle"})"), shape, Place{"f", ""});
  from_json(Json::parse(R"({"kind": "square"})"), shape, Place{"f", ""});
  EXPECT_EQ(shape.get_if<Square>()->side, 2);
}

TEST(OneOfField, RefusesKeysOfAnotherKindByBothNames) {
  const Error wrong_kind = toml_refusal("shape.side = 3\n");
  EXPECT_EQ(wrong_kind.field(), "shape.side");
  EXPECT_STREQ(wrong_kind.what(),
               "file.toml: 'shape.side' is not a key of kind 'circle'; kind 'square' has it");
  EXPECT_STREQ(toml_refusal("shape.radios = 3\n").what(),
               "file.toml: 'shape.radios' is not a key of kind 'circle', did you mean 'radius'?");
  EXPECT_STREQ(toml_refusal("shape.kind = \"sqare\"\n").what(),
               "file.toml: 'shape.kind' is 'sqare', not one of circle, square, did you mean "
               "'square'?");
  EXPECT_EQ(toml_refusal("shape.kind = 1\n").field(), "shape.kind");
  EXPECT_EQ(toml_refusal("shape = 1\n").field(), "shape");
  EXPECT_EQ(toml_refusal("shape.radius = -1.0\n").field(), "shape.radius");
}

TEST(OptionalField, IsAbsentUntilItIsSet) {
  EXPECT_FALSE(drawing("").margin);
  EXPECT_FALSE(to_json(drawing("")).contains("margin"));
  EXPECT_EQ(drawing("margin = 3").margin, 3);
  EXPECT_EQ(toml_refusal("margin = 10\n").field(), "margin") << "its range holds";
  EXPECT_STREQ(drawing("[frame]\nkind = \"square\"\n").frame->kind(), "square");
}

TEST(ListField, OfTablesSurvivesToml) {
  const Drawing d =
      drawing("pages = \"3-5\"\n[[rest]]\nkind = \"square\"\nside = 4\n[[rest]]\nradius = 0.5\n");
  ASSERT_EQ(d.rest.size(), 2u);
  EXPECT_EQ(d.rest[0].get_if<Square>()->side, 4);
  EXPECT_EQ(d.rest[1].get_if<Circle>()->radius, 0.5);
  EXPECT_EQ(d.pages.last, 5);
  EXPECT_EQ(to_json(drawing(to_toml(to_json(d)))), to_json(d));
  EXPECT_EQ(toml_refusal("[[rest]]\n[[rest]]\nside = 1\n").field(), "rest.1.side");
}

TEST(CompleteFields, MayLackWhatIsOptionalAndNothingElse) {
  Json json = to_json(drawing("[[rest]]\nkind = \"square\"\n"));
  EXPECT_NO_THROW(check_complete<Drawing>(json, {"f", ""}));
  json["rest"][0].erase("side");
  EXPECT_EQ(refusal_of(
                [&] {
                  check_complete<Drawing>(json, {"f", ""});
                },
                "no side")
                .field(),
            "rest.0.side");
  json["shape"].erase("kind");
  EXPECT_EQ(refusal_of(
                [&] {
                  check_complete<Drawing>(json, {"f", ""});
                },
                "no kind")
                .field(),
            "shape.kind");
}

TEST(Fields, DescribeEveryKind) {
  EXPECT_EQ(description_of(Drawing{}),
            "shape.kind = \"circle\"  # the first (circle, square)\n"
            "shape.radius = 1.0  # circle: how wide (0 or more)\n"
            "shape.side = 2  # square: how long\n"
            "shape.inner.count = 3  # square: how many (1 to 9)\n"
            "shape.inner.weights = [0.5]  # square: one each\n"
            "margin  # optional: white around it (0 to 9)\n"
            "frame.kind = \"circle\"  # optional: what is around it (circle, square)\n"
            "frame.radius = 1.0  # optional: circle: how wide (0 or more)\n"
            "frame.side = 2  # optional: square: how long\n"
            "frame.inner.count = 3  # optional: square: how many (1 to 9)\n"
            "frame.inner.weights = [0.5]  # optional: square: one each\n"
            "rest[].kind = \"circle\"  # the others (circle, square)\n"
            "rest[].radius = 1.0  # circle: how wide (0 or more)\n"
            "rest[].side = 2  # square: how long\n"
            "rest[].inner.count = 3  # square: how many (1 to 9)\n"
            "rest[].inner.weights = [0.5]  # square: one each\n"
            "pages = \"0-0\"  # where\n");
}

}  // namespace
}  // namespace mote
