#include "model/text_bounds.h"

#include <algorithm>
#include <set>

#include "base/json_text.h"
#include "text/pairs.h"

namespace mote::model {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<text::TokenId>;

constexpr const char* kDecoderStart = "decoder_start_token_id";

// A number, a list of them, or nothing.
Ids ids_at(const Json& config, const char* key, const fs::path& file) {
  Ids ids;
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return ids;
  const Place place{file.string(), key};
  for (const Json& json : found->is_array() ? *found : Json::array({*found})) {
    std::int64_t id = 0;
    from_json(json, id, place);
    if (id < 0 || id > std::numeric_limits<text::TokenId>::max())
      throw_config_error(place, concat("is ", id, "; tokens are numbered from 0"));
    ids.push_back(static_cast<text::TokenId>(id));
  }
  return ids;
}

Ids ids_in(const fs::path& file, const char* key) {
  return fs::exists(file) ? ids_at(read_json_object(file.string()), key, file) : Ids();
}

Json one_or_list(const Ids& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? Json(ids.front()) : Json(ids);
}

Ids sorted(Ids ids) {
  const std::set<text::TokenId> set(ids.begin(), ids.end());
  return {set.begin(), set.end()};
}

}  // namespace

bool TextBounds::ends_text(text::TokenId id) const {
  return std::binary_search(ends.begin(), ends.end(), id);
}

Json generation_config(const TextBounds& bounds) {
  return {
      {bounds.after_source.empty() ? "bos_token_id" : kDecoderStart, one_or_list(bounds.before)},
      {"eos_token_id", one_or_list(bounds.ends)}};
}

TextBounds own_bounds(const text::Tokenizer& tokenizer, bool reads_source) {
  if (!reads_source) return {{tokenizer.end_of_text()}, {tokenizer.end_of_text()}};
  const text::TokenId end = text::end_token(tokenizer);
  return {{text::start_token(tokenizer)}, {end}, {end}};
}

TextBounds own_bounds(const text::Tokenizer& tokenizer, const fs::path& folder) {
  const fs::path file = folder / kGenerationFile;
  if (!fs::exists(file)) return own_bounds(tokenizer);
  const Ids start = ids_in(file, kDecoderStart), ends = sorted(ids_in(file, "eos_token_id"));
  if (!start.empty()) return {start, ends, {text::end_token(tokenizer)}};
  return {ids_in(file, "bos_token_id"), ends};
}

TextBounds foreign_bounds(const text::Tokenizer& tokenizer, const fs::path& folder) {
  Ids ends;
  if (tokenizer.roles().end) ends.push_back(*tokenizer.roles().end);
  for (const char* file : {kGenerationFile, "config.json"})
    for (const text::TokenId id : ids_in(folder / file, "eos_token_id")) ends.push_back(id);
  ends = sorted(std::move(ends));
  for (const char* file : {kGenerationFile, "config.json"})
    if (const Ids start = ids_in(folder / file, kDecoderStart); !start.empty()) {
      const Ids& after = tokenizer.around().after;
      return {start, ends, after.empty() ? Ids{text::end_token(tokenizer)} : after};
    }
  return {tokenizer.around().before, ends};
}

}  // namespace mote::model
