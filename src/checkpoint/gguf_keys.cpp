#include "checkpoint/gguf_keys.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "checkpoint/refuse.h"

namespace mote::checkpoint {
namespace {

struct TypeRow {
  const char* name;
  std::size_t bytes;  // the fewest, of a text and an array
};
constexpr TypeRow kTypes[kNumGgufTypes] = {
    {"u8", 1},   {"i8", 1},   {"u16", 2},    {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"text", 8}, {"array", 12}, {"u64", 8}, {"i64", 8}, {"f64", 8}};

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// One element as T; none where its type does not fit.
template <class T>
std::optional<T> converted(GgufType type, const std::byte* p) {
  const auto whole = [&](auto value) -> std::optional<T> {
    if constexpr (std::is_same_v<T, std::int64_t>)
      if (!std::in_range<std::int64_t>(value)) return std::nullopt;
    return static_cast<T>(value);
  };
  const auto real = [&](double value) -> std::optional<T> {
    if constexpr (std::is_same_v<T, double>) return value;
    return std::nullopt;
  };
  switch (type) {
    case GgufType::u8:
      return whole(load<std::uint8_t>(p));
    case GgufType::i8:
      return whole(load<std::int8_t>(p));
    case GgufType::u16:
      return whole(load<std::uint16_t>(p));
    case GgufType::i16:
      return whole(load<std::int16_t>(p));
    case GgufType::u32:
      return whole(load<std::uint32_t>(p));
    case GgufType::i32:
      return whole(load<std::int32_t>(p));
    case GgufType::u64:
      return whole(load<std::uint64_t>(p));
    case GgufType::i64:
      return whole(load<std::int64_t>(p));
    case GgufType::f32:
      return real(static_cast<double>(load<float>(p)));
    case GgufType::f64:
      return real(load<double>(p));
    default:
      return std::nullopt;
  }
}

// The first `most` of them.
std::vector<std::string_view> texts_in(const GgufValue& value, std::uint64_t most) {
  std::vector<std::string_view> texts;
  const std::byte* p = value.bytes.data();
  for (std::uint64_t i = 0; i < std::min(value.count, most); ++i) {
    const auto length = load<std::uint64_t>(p);
    texts.emplace_back(reinterpret_cast<const char*>(p) + sizeof length, length);
    p += sizeof length + length;
  }
  return texts;
}

Json element_json(GgufType type, const std::byte* p) {
  if (type == GgufType::boolean) return *p != std::byte{0};
  if (type == GgufType::u64) return load<std::uint64_t>(p);
  if (const auto whole = converted<std::int64_t>(type, p)) return *whole;
  const double real = converted<double>(type, p).value();
  return std::isfinite(real) ? Json(real) : Json(std::to_string(real));
}

}  // namespace

const char* name(GgufType type) {
  return kTypes[static_cast<std::size_t>(type)].name;
}

std::size_t bytes_of(GgufType type) {
  return kTypes[static_cast<std::size_t>(type)].bytes;
}

Json to_json(const GgufValue& value, std::size_t most) {
  Json elements = Json::array();
  if (value.type == GgufType::text)
    for (const std::string_view text : texts_in(value, most)) elements.push_back(std::string(text));
  else
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(value.count, most); ++i)
      elements.push_back(element_json(value.type, value.bytes.data() + i * bytes_of(value.type)));
  if (!value.is_array) return elements[0];
  if (value.count <= most) return elements;
  return {{"count", value.count}, {"first", elements}};
}

bool GgufKeys::add(const std::string& key, const GgufValue& value) {
  if (!index_.emplace(key, all_.size()).second) return false;
  all_.emplace_back(key, value);
  return true;
}

const GgufValue* GgufKeys::find(const std::string& key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &all_[found->second].second;
}

const GgufValue& GgufKeys::at(const std::string& key, bool array) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    refuse_file(file_, key, concat("has no key '", key, "'; was it made for another model?"));
  if (value->is_array != array)
    refuse_file(file_, key,
                concat("key '", key, "' is ", value->is_array ? "an array" : "no array", " of ",
                       name(value->type), "; ", array ? "an array" : "one value", " is needed"));
  return *value;
}

template <class T>
std::vector<T> GgufKeys::elements(const std::string& key, bool array, const char* wanted) const {
  const GgufValue& value = at(key, array);
  std::vector<T> all;
  for (std::uint64_t i = 0; i < value.count; ++i) {
    const std::optional<T> element =
        value.type == GgufType::text
            ? std::nullopt
            : converted<T>(value.type, value.bytes.data() + i * bytes_of(value.type));
    if (!element)
      refuse_file(file_, key,
                  concat("key '", key, "' holds ", name(value.type), "; ", wanted,
                         " that 64 bits hold is needed"));
    all.push_back(*element);
  }
  return all;
}

bool GgufKeys::boolean(const std::string& key) const {
  const GgufValue& value = at(key, false);
  if (value.type != GgufType::boolean)
    refuse_file(file_, key, concat("key '", key, "' holds ", name(value.type), "; bool is needed"));
  return value.bytes[0] == std::byte{1};
}

std::int64_t GgufKeys::integer(const std::string& key) const {
  return elements<std::int64_t>(key, false, "a whole number").front();
}

double GgufKeys::number(const std::string& key) const {
  return elements<double>(key, false, "a number").front();
}

std::vector<std::int64_t> GgufKeys::integers(const std::string& key) const {
  return elements<std::int64_t>(key, true, "a whole number");
}

std::vector<double> GgufKeys::numbers(const std::string& key) const {
  return elements<double>(key, true, "a number");
}

std::string_view GgufKeys::text(const std::string& key) const {
  const GgufValue& value = at(key, false);
  if (value.type != GgufType::text)
    refuse_file(file_, key, concat("key '", key, "' holds ", name(value.type), "; text is needed"));
  return texts_in(value, 1).front();
}

std::vector<std::string_view> GgufKeys::texts(const std::string& key) const {
  const GgufValue& value = at(key, true);
  if (value.type != GgufType::text)
    refuse_file(file_, key, concat("key '", key, "' holds ", name(value.type), "; text is needed"));
  return texts_in(value, value.count);
}

}  // namespace mote::checkpoint
