#include "checkpoint/gguf_tokenizer.h"

#include <limits>

#include "checkpoint/refuse.h"

namespace mote::checkpoint {
namespace {

class Reader {
 public:
  explicit Reader(const GgufFile& file) : keys_(file.keys()), file_(file.path().string()) {}

  bool has(const char* name) const { return keys_.has(full(name)); }
  std::string text(const char* name) const { return std::string(keys_.text(full(name))); }
  std::vector<std::string> texts(const char* name) const {
    if (!has(name)) return {};
    const auto views = keys_.texts(full(name));
    return {views.begin(), views.end()};
  }
  std::vector<float> scores() const {
    if (!has("scores")) return {};
    const std::vector<double> numbers = keys_.numbers(full("scores"));
    return {numbers.begin(), numbers.end()};
  }
  std::vector<std::int32_t> types() const {
    std::vector<std::int32_t> types;
    if (has("token_type"))
      for (const std::int64_t type : keys_.integers(full("token_type")))
        types.push_back(small(type, "token_type"));
    return types;
  }
  std::optional<text::TokenId> token(const char* name) const {
    if (!has(name)) return std::nullopt;
    return small(keys_.integer(full(name)), name);
  }
  std::optional<bool> flag(const char* name) const {
    if (!has(name)) return std::nullopt;
    return keys_.boolean(full(name));
  }

 private:
  static std::string full(const char* name) { return std::string("tokenizer.ggml.") + name; }
  std::int32_t small(std::int64_t value, const char* name) const {
    if (!std::in_range<std::int32_t>(value))
      refuse_file(
          file_, full(name),
          concat("key '", full(name), "' holds ", value, ", which is no token and no type"));
    return static_cast<std::int32_t>(value);
  }

  const GgufKeys& keys_;
  const std::string file_;
};

}  // namespace

text::GgufVocabulary vocabulary_in(const GgufFile& file) {
  const Reader reader(file);
  text::GgufVocabulary v;
  v.model = reader.text("model");
  if (reader.has("pre")) v.pre = reader.text("pre");
  v.tokens = reader.texts("tokens");
  v.scores = reader.scores();
  v.types = reader.types();
  v.merges = reader.texts("merges");
  v.roles = {reader.token("bos_token_id"), reader.token("eos_token_id"),
             reader.token("padding_token_id"), reader.token("unknown_token_id")};
  v.add_begin = reader.flag("add_bos_token");
  v.add_end = reader.flag("add_eos_token");
  v.space_prefix = reader.flag("add_space_prefix");
  return v;
}

}  // namespace mote::checkpoint
