// Keys and values of a GGUF file (gguf.h has the bytes): typed values where they lie.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "checkpoint/tensor.h"

namespace mote::checkpoint {

enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  text,
  array,
  u64,
  i64,
  f64,
};
constexpr std::size_t kNumGgufTypes = 13;
const char* name(GgufType type);
// The fewest, of a text or an array.
std::size_t bytes_of(GgufType type);

// A value where it lies: of an array its elements, of a text with its length before it.
struct GgufValue {
  GgufType type = GgufType::u8;  // of an array that of its elements
  bool is_array = false;
  std::uint64_t count = 1;
  std::span<const std::byte> bytes;
};

// The value, or of an array of more than `most` elements {"count", "first"}. Numbers that JSON has
// no way to write are texts.
Json to_json(const GgufValue& value, std::size_t most);

// The keys of a file in their order. A getter throws a file error that names the key where it is
// missing, an array or not, or of another type. Whole numbers may have any of the types for them,
// where 64 bits with a sign hold them; number() takes those too.
class GgufKeys {
 public:
  explicit GgufKeys(std::string file) : file_(std::move(file)) {}
  // False where the key is there already.
  bool add(const std::string& key, const GgufValue& value);

  const std::vector<std::pair<std::string, GgufValue>>& all() const { return all_; }
  const GgufValue* find(const std::string& key) const;  // null: missing
  bool has(const std::string& key) const { return find(key) != nullptr; }

  bool boolean(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  std::string_view text(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;
  std::vector<std::string_view> texts(const std::string& key) const;

 private:
  const GgufValue& at(const std::string& key, bool array) const;
  template <class T>
  std::vector<T> elements(const std::string& key, bool array, const char* wanted) const;

  std::string file_;
  std::vector<std::pair<std::string, GgufValue>> all_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace mote::checkpoint
