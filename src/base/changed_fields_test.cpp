#include "base/changed_fields.h"

#include <gtest/gtest.h>

namespace mote {
namespace {

struct Round {
  static constexpr const char* kKind = "round";
  double radius = 1;
  static auto fields() { return std::tuple{Field{&Round::radius, "radius", "r"}}; }
};
struct Square {
  static constexpr const char* kKind = "square";
  double side = 2;
  bool filled = false;
  static auto fields() {
    return std::tuple{Field{&Square::side, "side", "a"}, Field{&Square::filled, "filled", "f"}};
  }
};

struct Picture {
  std::int64_t width = 10;
  OneOf<Round, Square> shape = Square{3};
  std::vector<Round> dots;
  std::optional<std::int64_t> depth;
  static auto fields() {
    using C = Picture;
    return std::tuple{Field{&C::width, "width", "w"}, Field{&C::shape, "shape", "s"},
                      Field{&C::dots, "dots", "d"}, Field{&C::depth, "depth", "o"}};
  }
};

Json changed(const Picture& picture) {
  return changed_fields(picture, Picture{});
}

TEST(ChangedFields, OfTheDefaultsAreNone) {
  EXPECT_EQ(changed({}), Json::object());
}

TEST(ChangedFields, AreThoseThatDiffer) {
  Picture picture;
  picture.width = 11;
  picture.depth = 0;
  EXPECT_EQ(changed(picture), Json::parse(R"({"width": 11, "depth": 0})"));
}

TEST(ChangedFields, OfAnotherKindAreWhatDiffersFromItsOwn) {
  Picture picture;
  picture.shape = Round{};
  EXPECT_EQ(changed(picture), Json::parse(R"({"shape": {"kind": "round"}})"));
  picture.shape = Square{3, true};
  EXPECT_EQ(changed(picture), Json::parse(R"({"shape": {"filled": true, "kind": "square"}})"));
}

TEST(ChangedFields, OfAListAreThoseOfItsItems) {
  Picture picture;
  picture.dots = {Round{}, Round{2}};
  EXPECT_EQ(changed(picture), Json::parse(R"({"dots": [{}, {"radius": 2.0}]})"));
}

}  // namespace
}  // namespace mote
