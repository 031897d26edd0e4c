#include "text/tokenizer_json_parts.h"

#include <algorithm>
#include <array>
#include <functional>

#include "text/utf8.h"

namespace mote::text {
namespace {

constexpr std::size_t kMostParts = 64;  // of a Sequence; files have up to ten

// each(part, place) for a part or the parts of a Sequence, whose list is under `key`.
void for_each_part(
    const JsonReader& reader, const SortedJson& part, const char* key, const std::string& place,
    const std::function<void(const SortedJson&, const std::string&, const std::string&)>& each) {
  const std::string type = reader.text(part, "type", place);
  if (type != "Sequence") return each(part, type, place);
  const SortedJson& parts = reader.list(part, key, place);
  if (parts.size() > kMostParts)
    reader.refuse(place, concat("has ", parts.size(), " parts; known are up to ", kMostParts));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string inner = concat(place, ".", key, "[", i, "]");
    const std::string inner_type = reader.text(parts[i], "type", inner);
    if (inner_type == "Sequence") reader.refuse(inner, "is a Sequence in a Sequence");
    each(parts[i], inner_type, inner);
  }
}

// A pattern {"Regex": ...} or {"String": ...} as a regular expression.
std::string pattern_of(const JsonReader& reader, const SortedJson& part, const std::string& place) {
  const SortedJson& pattern = reader.member(part, "pattern", place);
  const std::string field = place + ".pattern";
  if (!pattern.is_object()) reader.fail(field, "is not a JSON object");
  if (pattern.contains("Regex")) return reader.text(pattern, "Regex", field);
  if (!pattern.contains("String")) reader.refuse(field, "is neither a Regex nor a String");
  return exact_pattern(reader.text(pattern, "String", field));
}

// Errors about patterns and tables become errors of the file and field.
template <class Call>
void named(const JsonReader& reader, const std::string& place, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    reader.fail(place, error.what());
  }
}

Cut::Behavior behavior_of(const JsonReader& reader, const SortedJson& part, const char* otherwise,
                          const std::string& place) {
  struct Row {
    const char* name;
    Cut::Behavior behavior;
  };
  static constexpr std::array kRows = {Row{"Isolated", Cut::Behavior::isolated},
                                       Row{"Removed", Cut::Behavior::removed},
                                       Row{"MergedWithPrevious", Cut::Behavior::merged_previous},
                                       Row{"MergedWithNext", Cut::Behavior::merged_next},
                                       Row{"Contiguous", Cut::Behavior::contiguous}};
  const std::string name = reader.optional(part, "behavior").is_null() && otherwise != nullptr
                               ? otherwise
                               : reader.text(part, "behavior", place);
  for (const Row& row : kRows)
    if (name == row.name) return row.behavior;
  reader.refuse(place + ".behavior", "is '" + name +
                                         "'; known are Isolated, Removed, MergedWithPrevious, "
                                         "MergedWithNext and Contiguous");
}

Metaspace metaspace_of(const JsonReader& reader, const SortedJson& part, const std::string& place) {
  Metaspace metaspace;
  metaspace.replacement = reader.text(part, "replacement", place);
  if (metaspace.replacement.empty() || metaspace.replacement == " " ||
      first_sequence(metaspace.replacement).length != metaspace.replacement.size())
    reader.fail(place + ".replacement", "is not one character other than a space");
  metaspace.split = reader.flag(part, "split", true, place);
  // Older files say it so.
  if (!reader.flag(part, "add_prefix_space", true, place))
    metaspace.prepend = Metaspace::Prepend::never;
  if (reader.optional(part, "prepend_scheme").is_null()) return metaspace;
  const std::string scheme = reader.text(part, "prepend_scheme", place);
  if (scheme == "always")
    metaspace.prepend = Metaspace::Prepend::always;
  else if (scheme == "first")
    metaspace.prepend = Metaspace::Prepend::first;
  else if (scheme == "never")
    metaspace.prepend = Metaspace::Prepend::never;
  else
    reader.refuse(place + ".prepend_scheme",
                  "is '" + scheme + "'; known are always, first and never");
  return metaspace;
}

std::string from_base64(const JsonReader& reader, const std::string& written,
                        const std::string& place) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  std::string_view rest = written;
  while (rest.ends_with('=')) rest.remove_suffix(1);
  for (const char c : rest) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) reader.fail(place, "is not base 64");
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xFF);
  }
  return bytes;
}

void add_cut(TokenizerModel& model, std::string pattern,
             Cut::Behavior behavior = Cut::Behavior::isolated, bool invert = false) {
  model.steps.push_back({PreStep::Kind::cut, {std::move(pattern), behavior, invert}, {}});
}

// The token's id, as the file's own vocabulary has it.
TokenId known_id(const JsonReader& reader, const TokenizerModel& model, const SortedJson& value,
                 const std::string& place) {
  const std::size_t id = reader.whole(value, place);
  if (id >= model.tokens.size())
    reader.fail(place, concat("has id ", id, " in a vocabulary of ", model.tokens.size()));
  return static_cast<TokenId>(id);
}

void read_template(const JsonReader& reader, const SortedJson& part, const std::string& place,
                   TokenizerModel& model) {
  const SortedJson& tokens = reader.member(part, "special_tokens", place);
  const SortedJson& single = reader.list(part, "single", place);
  bool met_text = false;
  for (std::size_t i = 0; i < single.size(); ++i) {
    const std::string at = concat(place, ".single[", i, "]");
    if (!single[i].is_object()) reader.fail(at, "is not a JSON object");
    if (single[i].contains("Sequence")) {
      if (met_text) reader.refuse(at, "is a second text in a template for one");
      met_text = true;
      continue;
    }
    const std::string name =
        reader.text(reader.member(single[i], "SpecialToken", at), "id", at + ".SpecialToken");
    const std::string field = place + ".special_tokens." + name;
    const SortedJson& token = reader.member(tokens, name.c_str(), place + ".special_tokens");
    const SortedJson& ids = reader.list(token, "ids", field);
    for (const SortedJson& id : ids)
      (met_text ? model.around.after : model.around.before)
          .push_back(known_id(reader, model, id, field + ".ids"));
  }
}

// [name, id]
TokenId named_token(const JsonReader& reader, const SortedJson& part, const char* key,
                    const std::string& place, const TokenizerModel& model) {
  const SortedJson& pair = reader.list(part, key, place);
  const std::string field = place + "." + key;
  if (pair.size() != 2) reader.fail(field, "is not [name, id]");
  return known_id(reader, model, pair[1], field);
}

}  // namespace

void read_normalizer(const JsonReader& reader, const SortedJson& whole, TokenizerModel& model) {
  if (whole.is_null()) return;
  Normalizer& normalizer = model.normalizer;
  for_each_part(
      reader, whole, "normalizers", "normalizer",
      [&](const SortedJson& part, const std::string& type, const std::string& place) {
        if (type == "NFC") {
          normalizer.add_form(NormalForm::nfc);
        } else if (type == "NFD") {
          normalizer.add_form(NormalForm::nfd);
        } else if (type == "NFKC") {
          normalizer.add_form(NormalForm::nfkc);
        } else if (type == "NFKD") {
          normalizer.add_form(NormalForm::nfkd);
        } else if (type == "Lowercase") {
          normalizer.add_lowercase();
        } else if (type == "Nmt") {
          normalizer.add_nmt();
        } else if (type == "StripAccents") {
          normalizer.add_strip_accents();
        } else if (type == "Strip") {
          normalizer.add_strip(reader.flag(part, "strip_left", true, place),
                               reader.flag(part, "strip_right", true, place));
        } else if (type == "Prepend") {
          normalizer.add_prepend(reader.text(part, "prepend", place));
        } else if (type == "Replace") {
          const std::string pattern = pattern_of(reader, part, place);
          std::string content = reader.text(part, "content", place);
          named(reader, place, [&] { normalizer.add_replace(pattern, std::move(content)); });
        } else if (type == "Precompiled") {
          const std::string field = place + ".precompiled_charsmap";
          const std::string blob =
              from_base64(reader, reader.text(part, "precompiled_charsmap", place), field);
          if (!blob.empty()) named(reader, field, [&] { normalizer.add_charsmap(blob); });
        } else {
          reader.refuse(place, "is '" + type +
                                   "'; known are NFC, NFD, NFKC, NFKD, Lowercase, Nmt, "
                                   "StripAccents, Strip, Prepend, Replace and Precompiled, alone "
                                   "or in a Sequence");
        }
      });
}

void read_pre_tokenizer(const JsonReader& reader, const SortedJson& whole, TokenizerModel& model) {
  if (whole.is_null()) return;
  // What \w is to the tokenizers library.
  static const std::string word = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}])";
  bool byte_level = false;
  for_each_part(
      reader, whole, "pretokenizers", "pre_tokenizer",
      [&](const SortedJson& part, const std::string& type, const std::string& place) {
        if (byte_level)
          reader.refuse(place, "has '" + type + "' after ByteLevel; ByteLevel must be the last");
        if (type == "ByteLevel") {
          if (reader.flag(part, "add_prefix_space", true, place))
            model.steps.push_back({PreStep::Kind::prefix_space, {}, {}});
          if (reader.flag(part, "use_regex", true, place)) add_cut(model, kGpt2Pattern);
          byte_level = true;
        } else if (type == "Split") {
          const std::string pattern = pattern_of(reader, part, place);
          add_cut(model, pattern, behavior_of(reader, part, nullptr, place),
                  reader.flag(part, "invert", false, place));
          named(reader, place, [&] { Regex{pattern}; });
        } else if (type == "Digits") {
          const bool each = reader.flag(part, "individual_digits", false, place);
          add_cut(model, each ? "\\p{N}" : "\\p{N}+");
        } else if (type == "Punctuation") {
          add_cut(model, R"([\p{P}!-/:-@\[-`{-~])", behavior_of(reader, part, "Isolated", place));
        } else if (type == "Whitespace") {
          add_cut(model, word + "+|(?:(?!" + word + ")\\S)+", Cut::Behavior::removed, true);
        } else if (type == "WhitespaceSplit") {
          add_cut(model, "\\s", Cut::Behavior::removed);
        } else if (type == "CharDelimiterSplit") {
          add_cut(model, exact_pattern(reader.text(part, "delimiter", place)),
                  Cut::Behavior::removed);
        } else if (type == "Metaspace") {
          model.steps.push_back({PreStep::Kind::metaspace, {}, metaspace_of(reader, part, place)});
        } else {
          reader.refuse(place, "is '" + type +
                                   "'; known are ByteLevel, Split, Digits, Punctuation, "
                                   "Whitespace, WhitespaceSplit, CharDelimiterSplit and "
                                   "Metaspace, alone or in a Sequence");
        }
      });
  if (byte_level) model.kind = TokenizerModel::Kind::byte_bpe;
}

void read_post_processor(const JsonReader& reader, const SortedJson& whole, TokenizerModel& model) {
  if (whole.is_null()) return;
  for_each_part(reader, whole, "processors", "post_processor",
                [&](const SortedJson& part, const std::string& type, const std::string& place) {
                  if (type == "ByteLevel") return;  // moves offsets alone
                  if (!model.around.before.empty() || !model.around.after.empty())
                    reader.refuse(place, "puts tokens around a text after another part did");
                  if (type == "TemplateProcessing") {
                    read_template(reader, part, place, model);
                  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
                    model.around.before = {named_token(reader, part, "cls", place, model)};
                    model.around.after = {named_token(reader, part, "sep", place, model)};
                  } else {
                    reader.refuse(place,
                                  "is '" + type +
                                      "'; known are ByteLevel, TemplateProcessing, BertProcessing "
                                      "and RobertaProcessing, alone or in a Sequence");
                  }
                });
}

void read_decoder(const JsonReader& reader, const SortedJson& whole, TokenizerModel& model) {
  const bool bytes = model.kind == TokenizerModel::Kind::byte_bpe;
  if (whole.is_null()) {
    if (!bytes) reader.refuse("decoder", "is missing; tokens are put together only as it says");
    return;
  }
  bool byte_tokens = false;
  for_each_part(
      reader, whole, "decoders", "decoder",
      [&](const SortedJson& part, const std::string& type, const std::string& place) {
        if ((type == "ByteLevel") != bytes)
          reader.refuse(
              place, "is '" + type + "' for a vocabulary of " + (bytes ? "bytes" : "characters"));
        if (type == "Metaspace") {
          const Metaspace metaspace = metaspace_of(reader, part, place);
          model.decode_replacements.emplace_back(metaspace.replacement, " ");
          if (metaspace.prepend != Metaspace::Prepend::never)
            model.decode_rules.start = DecodeRules::Start::first_token_bare;
        } else if (type == "Replace") {
          const SortedJson& pattern = reader.member(part, "pattern", place);
          const std::string from = reader.text(pattern, "String", place + ".pattern");
          if (from.empty()) reader.fail(place + ".pattern.String", "is empty");
          model.decode_replacements.emplace_back(from, reader.text(part, "content", place));
        } else if (type == "ByteFallback") {
          byte_tokens = true;
        } else if (type == "Strip") {
          const auto count = [&](const char* key) {
            return reader.whole(reader.member(part, key, place), place + "." + key);
          };
          if (reader.text(part, "content", place) != " " || count("start") > 1 ||
              count("stop") != 0)
            reader.refuse(place, "strips other than one space where the text begins");
          if (count("start") == 1) model.decode_rules.start = DecodeRules::Start::without_space;
        } else if (type != "ByteLevel" && type != "Fuse") {
          reader.refuse(place, "is '" + type +
                                   "'; known are ByteLevel, Metaspace, Replace, ByteFallback, "
                                   "Fuse and Strip, alone or in a Sequence");
        }
      });
  if (model.byte_fallback && !byte_tokens)
    reader.refuse("decoder", "lacks ByteFallback, and model.byte_fallback is true");
  model.decode_rules.each_byte = byte_tokens;
}

}  // namespace mote::text
