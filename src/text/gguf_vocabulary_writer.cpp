#include <algorithm>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/gguf_vocabulary.h"
#include "text/pretokenize_patterns.h"
#include "text/tokenizer_model.h"

namespace mote::text {
namespace {

using Kind = TokenizerModel::Kind;
enum Type : std::int32_t { normal = 1, unknown, control, user_defined, unused, byte };

// What both tokenizers must cut alike. All characters are composed: llama.cpp normalizes nothing.
constexpr const char* kProbes[] = {
    "The quick brown fox, it's 12345 and 6.7!", "  two  spaces\n\nand\tlines \r\n end ",
    "caf\xC3\xA9 na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xF0\x9F\x98\x80",
    "IT'S x=1;y[2]={3} //foo_bar http://a.b/c?d=e", "a"};
// What no normalizer but one that composes characters leaves alone: capitals, a ligature, white space.
constexpr const char* kComposed = " AbC \xEF\xAC\x81 \xC3\xA9\t";

class Writer {
 public:
  Writer(const Tokenizer& tokenizer, const std::string& file)
      : tokenizer_(tokenizer), file_(file) {}

  GgufVocabulary write() {
    if (!tokenizer_.model()) refuse("is read by SentencePiece's library; add a tokenizer.json");
    if (model().kind == Kind::byte_bpe)
      byte_level();
    else if (model().kind == Kind::unigram)
      refuse("is a unigram model, of which GGUF files of decoders have none");
    else
      scored();
    set_around();
    check_cuts();
    return std::move(v_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::unsupported, concat(file_, ": ", what,
                                               "; convert without the tokenizer's files, and give "
                                               "llama.cpp its own"))
        .in(file_);
  }
  const TokenizerModel& model() const { return *tokenizer_.model(); }

  std::int32_t type_of(std::size_t id) const {
    const TokenizerModel::Token& token = model().tokens[id];
    if (model().unknown == static_cast<TokenId>(id) ||
        model().roles.unknown == static_cast<TokenId>(id))
      return unknown;
    if (token.special) return control;
    return token.added ? user_defined : normal;
  }

  void byte_level() {
    v_.model = "gpt2";
    if (!model().normalizer.empty() && model().normalizer.apply(kComposed) != kComposed)
      refuse("has a normalizer that does more than compose characters, which GGUF has no key for");
    std::vector<std::string> patterns;
    for (const PreStep& step : model().steps) {
      if (step.kind != PreStep::Kind::cut || step.cut.invert ||
          step.cut.behavior != Cut::Behavior::isolated)
        refuse("cuts text in a way that has no name in GGUF");
      patterns.push_back(step.cut.pattern);
    }
    const auto& table = named_patterns();
    const auto pre = std::find_if(table.begin(), table.end(), [&](const NamedPatterns& row) {
      return row.patterns == patterns && row.ignore_merges == model().ignore_merges;
    });
    if (pre == table.end())
      refuse(concat("cuts text by ", patterns.size(), " patterns that have no name in GGUF"));
    v_.pre = pre->name;
    const auto written = [&](TokenId id) {
      const TokenizerModel::Token& token = model().tokens[static_cast<std::size_t>(id)];
      return token.added ? token.bytes : to_byte_alphabet(token.bytes);
    };
    for (std::size_t id = 0; id < model().tokens.size(); ++id) {
      v_.tokens.push_back(written(static_cast<TokenId>(id)));
      v_.types.push_back(type_of(id));
    }
    for (const Merge& merge : model().merges)
      v_.merges.push_back(written(merge.left) + " " + written(merge.right));
  }

  // Merges of characters in a list become scores: the earlier, the higher.
  void scored() {
    v_.model = "llama";
    const std::size_t count = model().tokens.size();
    v_.scores.assign(count, model().kind == Kind::scored_bpe
                                ? 0.0f
                                : -static_cast<float>(model().merges.size() + 1));
    if (model().kind == Kind::scored_bpe)
      for (std::size_t id = 0; id < count; ++id)
        v_.scores[id] = static_cast<float>(model().tokens[id].score);
    for (std::size_t i = model().merges.size(); i-- > 0;)
      v_.scores[static_cast<std::size_t>(model().merges[i].result)] = -static_cast<float>(i);
    for (std::size_t id = 0; id < count; ++id) {
      v_.tokens.push_back(model().tokens[id].bytes);
      v_.types.push_back(type_of(id));
    }
    if (model().byte_fallback)
      for (std::size_t b = 0; b < 256; ++b) {
        constexpr const char* kDigits = "0123456789ABCDEF";
        const auto id = static_cast<std::size_t>(model().byte_ids[b]);
        v_.tokens[id] = {'<', '0', 'x', kDigits[b / 16], kDigits[b % 16], '>'};
        v_.types[id] = byte;
      }
    const std::vector<TokenId> ids = tokenizer_.encode("a");
    v_.space_prefix = !ids.empty() && tokenizer_.name(ids.front()).starts_with("\xE2\x96\x81");
  }

  void set_around() {
    v_.roles = model().roles;
    const Around& around = model().around;
    const auto set = [&](const std::vector<TokenId>& ids, std::optional<TokenId>& role,
                         std::optional<bool>& flag, const char* what) {
      flag = !ids.empty();
      if (ids.empty()) return;
      if (!role) role = ids.front();
      if (ids.size() > 1 || *role != ids.front())
        refuse(concat("puts ", ids.size(), " tokens ", what, " a text, ", ids.front(),
                      " the first; GGUF has a key for one"));
    };
    set(around.before, v_.roles.begin, v_.add_begin, "before");
    set(around.after, v_.roles.end, v_.add_end, "after");
    if (!v_.roles.end) v_.roles.end = model().end_of_text;
  }

  void check_cuts() const {
    const auto other = make_gguf_tokenizer(v_, file_);
    for (const char* probe : kProbes)
      if (tokenizer_.encode_alone(probe) != other->encode_alone(probe))
        refuse(concat("gives ", tokenizer_.encode_alone(probe).size(), " tokens of '", probe,
                      "', and others as GGUF would have it"));
  }

  const Tokenizer& tokenizer_;
  const std::string& file_;
  GgufVocabulary v_;
};

}  // namespace

GgufVocabulary gguf_vocabulary(const Tokenizer& tokenizer, const std::string& file) {
  return Writer(tokenizer, file).write();
}

void pad_vocabulary(GgufVocabulary& v, std::int64_t count) {
  for (auto id = static_cast<std::int64_t>(v.tokens.size()); id < count; ++id) {
    v.tokens.push_back(concat("[PAD", id, "]"));
    v.types.push_back(unused);
    if (!v.scores.empty()) v.scores.push_back(v.scores.back());
  }
}

}  // namespace mote::text
