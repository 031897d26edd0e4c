// A value of one of several configs, told apart by the key "kind" (base/fields.h).
//
//   struct Dense { static constexpr const char* kKind = "dense"; ... static auto fields(); };
//   struct Mixture { static constexpr const char* kKind = "mixture"; ... static auto fields(); };
//   using FeedForwardConfig = OneOf<Mixture, Dense>;   // a Mixture unless told otherwise
#pragma once

#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace mote {

template <class... Kinds>
class OneOf {
 public:
  OneOf() = default;
  // Implicit, so that a config is given where one of several is wanted.
  template <class Kind>
  requires(std::is_same_v<Kind, Kinds> || ...)  // NOLINTNEXTLINE(google-explicit-constructor)
      OneOf(Kind config)
      : value_(std::move(config)) {}

  const char* kind() const {
    return visit([](const auto& config) { return config.kKind; });
  }
  // The config if it is of that kind, else null.
  template <class Kind>
  const Kind* get_if() const& {
    return std::get_if<Kind>(&value_);
  }
  template <class Kind>
  Kind* get_if() & {
    return std::get_if<Kind>(&value_);
  }
  template <class Kind>
  const Kind* get_if() const&& = delete;  // it would point into a value that is gone
  template <class Body>
  decltype(auto) visit(Body&& body) const {
    return std::visit(body, value_);
  }
  template <class Body>
  decltype(auto) visit(Body&& body) {
    return std::visit(body, value_);
  }
  // Starts from the defaults of the kind named; false if there is none of that name.
  bool set_kind(const std::string& name) {
    const auto set = [&](auto config) {
      if (name != config.kKind) return false;
      value_ = std::move(config);
      return true;
    };
    return (set(Kinds{}) || ...);
  }

  static std::vector<std::string> kinds() { return {Kinds::kKind...}; }
  // body(defaults) for every kind in turn.
  template <class Body>
  static void for_each_kind(const Body& body) {
    (body(Kinds{}), ...);
  }

 private:
  std::variant<Kinds...> value_;
};

template <class T>
struct IsOneOf : std::false_type {};
template <class... Kinds>
struct IsOneOf<OneOf<Kinds...>> : std::true_type {};

}  // namespace mote
