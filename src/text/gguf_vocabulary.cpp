#include "text/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/pretokenize_patterns.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using Kind = TokenizerModel::Kind;
enum Type : std::int32_t { normal = 1, unknown, control, user_defined, unused, byte };

class Builder {
 public:
  Builder(GgufVocabulary vocabulary, const std::string& file)
      : v_(std::move(vocabulary)), file_(file) {}

  TokenizerModel build() {
    check_lists();
    if (v_.model == "gpt2")
      byte_level();
    else if (v_.model == "llama")
      scored();
    else
      fail(ErrorKind::unsupported, "model", "is '" + v_.model + "'; known are gpt2 and llama");
    take_roles();
    return std::move(model_);
  }

 private:
  [[noreturn]] void fail(ErrorKind kind, const std::string& key, const std::string& what) const {
    const std::string field = "tokenizer.ggml." + key;
    throw Error(kind, concat(file_, ": ", field, " ", what)).in(file_).at(field);
  }
  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    fail(ErrorKind::file, key, what);
  }
  Type type(std::size_t id) const {
    return v_.types.empty() ? normal : static_cast<Type>(v_.types[id]);
  }

  void check_lists() const {
    const std::size_t count = v_.tokens.size();
    if (count == 0) fail("tokens", "is empty");
    if (count > static_cast<std::size_t>(std::numeric_limits<TokenId>::max()))
      fail("tokens", concat("has ", count, " entries, too many"));
    if (!v_.types.empty() && v_.types.size() != count)
      fail("token_type", concat("has ", v_.types.size(), " entries and tokens ", count));
    if (v_.model == "llama" && v_.scores.size() != count)
      fail("scores", concat("has ", v_.scores.size(), " entries and tokens ", count));
    for (std::size_t id = 0; id < count; ++id) {
      if (type(id) < normal || type(id) > byte)
        fail("token_type", concat("of token ", id, " is ", v_.types[id], "; known are 1 to 6"));
      if (valid_utf8_prefix(v_.tokens[id]) < v_.tokens[id].size())
        fail("tokens", concat("has token ", id, ", which is not UTF-8"));
      if (v_.model == "llama" && !std::isfinite(v_.scores[id]))
        fail("scores", concat("of token ", id, " is no number"));
    }
  }

  // As text that may hold it: control and unknown tokens on request, others always.
  void add(std::size_t id) {
    const bool special = type(id) == control || type(id) == unknown;
    model_.tokens[id] = {v_.tokens[id], special, true, false, 0};
    if (!v_.tokens[id].empty())
      model_.added.push_back({v_.tokens[id], static_cast<TokenId>(id), special});
  }

  void byte_level() {
    const auto& table = named_patterns();
    const auto pre = std::find_if(table.begin(), table.end(),
                                  [&](const NamedPatterns& row) { return row.name == v_.pre; });
    if (pre == table.end()) {
      std::string names;
      for (const NamedPatterns& row : table) names += (names.empty() ? "" : ", ") + row.name;
      fail(ErrorKind::unsupported, "pre",
           (v_.pre.empty() ? "is missing" : "is '" + v_.pre + "'") + "; known are " + names);
    }
    model_.kind = Kind::byte_bpe;
    for (const std::string& pattern : pre->patterns)
      model_.steps.push_back({PreStep::Kind::cut, {pattern}, {}});
    model_.ignore_merges = pre->ignore_merges;
    model_.tokens.resize(v_.tokens.size());
    std::unordered_map<std::string, TokenId> id_of;  // by the text of the file
    id_of.reserve(v_.tokens.size());
    model_.byte_ids.fill(-1);
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      const std::optional<std::string> bytes = from_byte_alphabet(v_.tokens[id]);
      if (type(id) != normal || !bytes || bytes->empty()) {
        if (type(id) == normal && !v_.tokens[id].empty())
          fail("tokens", concat("has token ", id, " '", v_.tokens[id],
                                "', which is not written in the alphabet of bytes"));
        add(id);
        continue;
      }
      if (!id_of.emplace(v_.tokens[id], static_cast<TokenId>(id)).second)
        fail("tokens", concat("has token ", id, " '", v_.tokens[id], "' twice"));
      model_.tokens[id].bytes = *bytes;
      if (bytes->size() == 1)
        model_.byte_ids[static_cast<std::uint8_t>((*bytes)[0])] = static_cast<TokenId>(id);
    }
    if (!note_missing_bytes(model_, file_)) fail("tokens", "has no token of a single byte");
    byte_merges(id_of);
    set_around(v_.add_begin.value_or(pre->add_begin));
  }

  void byte_merges(const std::unordered_map<std::string, TokenId>& id_of) {
    std::string both;
    for (std::size_t i = 0; i < v_.merges.size(); ++i) {
      const std::string& merge = v_.merges[i];
      const std::size_t space = merge.find(' ');
      const auto id = [&](const std::string& text) {
        const auto found = id_of.find(text);
        if (found == id_of.end())
          fail("merges", concat("[", i, "] needs '", text, "', which is no token"));
        return found->second;
      };
      if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos)
        fail("merges", concat("[", i, "] is not \"left right\""));
      both = merge;
      both.erase(space, 1);
      model_.merges.push_back({id(merge.substr(0, space)), id(merge.substr(space + 1)), id(both)});
    }
  }

  void scored() {
    model_.kind = Kind::scored_bpe;
    model_.spaces_to_signs = true;
    model_.space_prefix = v_.space_prefix.value_or(true);
    model_.decode_replacements = {{"\xE2\x96\x81", " "}};
    model_.decode_rules.each_byte = true;
    if (model_.space_prefix) model_.decode_rules.start = DecodeRules::Start::without_space;
    model_.tokens.resize(v_.tokens.size());
    model_.byte_ids.fill(-1);
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      if (type(id) == control || type(id) == unknown || type(id) == user_defined) add(id);
      TokenizerModel::Token& token = model_.tokens[id];
      token.bytes = v_.tokens[id];
      token.score = v_.scores[id];
      token.in_model = type(id) == normal || type(id) == user_defined;
      if (type(id) == byte) byte_token(id);
      if (type(id) == unknown && !model_.unknown) model_.unknown = static_cast<TokenId>(id);
    }
    const auto missing = std::count(model_.byte_ids.begin(), model_.byte_ids.end(), -1);
    model_.byte_fallback = missing == 0;
    if (missing != 0 && missing != 256)
      fail("tokens", concat("lacks ", missing, " of the 256 byte tokens"));
    if (!model_.byte_fallback && !model_.unknown)
      fail("tokens", "has neither byte tokens nor one for unknown characters");
    model_.fuse_unknown = true;
    set_around(v_.add_begin.value_or(true));
  }

  void byte_token(std::size_t id) {
    const std::string& text = v_.tokens[id];
    static constexpr std::string_view kDigits = "0123456789ABCDEF";
    const bool written = text.size() == 6 && text.starts_with("<0x") && text[5] == '>';
    const std::size_t high = written ? kDigits.find(text[3]) : std::string_view::npos;
    const std::size_t low = written ? kDigits.find(text[4]) : std::string_view::npos;
    if (high == std::string_view::npos || low == std::string_view::npos)
      fail("tokens", concat("has byte token ", id, " written '", text, "', not <0xNN>"));
    if (model_.byte_ids[16 * high + low] >= 0) fail("tokens", "has '" + text + "' twice");
    model_.byte_ids[16 * high + low] = static_cast<TokenId>(id);
  }

  void check_role(std::optional<TokenId> id, const char* key) const {
    if (id && (*id < 0 || static_cast<std::size_t>(*id) >= v_.tokens.size()))
      fail(key, concat("is ", *id, " in a vocabulary of ", v_.tokens.size()));
  }

  void set_around(bool add_begin) {
    check_role(v_.roles.begin, "bos_token_id");
    check_role(v_.roles.end, "eos_token_id");
    if (add_begin && !v_.roles.begin) {
      if (v_.add_begin) fail("add_bos_token", "is true and bos_token_id is missing");
    } else if (add_begin) {
      model_.around.before = {*v_.roles.begin};
    }
    if (!v_.add_end.value_or(false)) return;
    if (!v_.roles.end) fail("add_eos_token", "is true and eos_token_id is missing");
    model_.around.after = {*v_.roles.end};
  }

  void take_roles() {
    check_role(v_.roles.padding, "padding_token_id");
    check_role(v_.roles.unknown, "unknown_token_id");
    model_.roles = v_.roles;
    const auto found =
        std::find_if(model_.added.begin(), model_.added.end(),
                     [](const AddedToken& a) { return a.special && a.content == kEndOfText; });
    if (found != model_.added.end())
      model_.end_of_text = found->id;
    else if (v_.roles.end || v_.roles.begin)
      model_.end_of_text = v_.roles.end ? *v_.roles.end : *v_.roles.begin;
    else
      fail("eos_token_id", "is missing, and documents need an end");
    TokenizerModel::Token& end = model_.tokens[static_cast<std::size_t>(model_.end_of_text)];
    end.special = true;
    end.in_model = false;
  }

  const GgufVocabulary v_;
  const std::string& file_;
  TokenizerModel model_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_gguf_tokenizer(GgufVocabulary vocabulary, const std::string& file) {
  return make_tokenizer(Builder(std::move(vocabulary), file).build());
}

}  // namespace mote::text
