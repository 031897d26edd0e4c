#include "text/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>

#include "base/fields.h"
#include "base/file.h"
#include "base/json_text.h"
#include "text/byte_alphabet.h"
#include "text/pretokenize.h"

namespace mote::text {
namespace {

// Sorted by key: an ordered one looks through all keys at each insertion, too slow for a
// vocabulary.
using SortedJson = nlohmann::json;

Json byte_level(bool add_prefix_space) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", true}};
}

// For messages. What has parts is only named: writing it out may take much room, and one stack
// frame a level.
std::string brief(const SortedJson& value) {
  return value.is_structured() ? concat("an ", value.type_name()) : value.dump();
}

// The reader keeps the file's name and builds the model part by part, each from the parts before.
class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}
  BpeModel read(const SortedJson& root);

 private:
  using Vocabulary = std::unordered_map<std::string, TokenId>;  // by bytes

  [[noreturn]] void fail(const std::string& field, const std::string& what,
                         ErrorKind kind = ErrorKind::file) const;
  [[noreturn]] void refuse(const std::string& field, const std::string& what) const;
  const SortedJson& member(const SortedJson& object, const char* key, const std::string& place);
  std::string text(const SortedJson& object, const char* key, const std::string& place);
  bool flag(const SortedJson& object, const char* key, bool otherwise, const std::string& place);
  TokenId id(const SortedJson& value, std::size_t num_tokens, const std::string& place);

  void read_tokens(const SortedJson& vocab, const SortedJson& added);
  void read_byte_ids();
  void read_merges(const SortedJson& merges);
  std::pair<std::string, std::string> merge_parts(const SortedJson& merge,
                                                  const std::string& place);
  TokenId part_id(const std::string& part, const std::string& place);
  void read_pre_tokenizer(const SortedJson& pre_tokenizer, const std::string& place);
  void read_end_of_text();

  const std::string& file_;
  BpeModel model_;
  Vocabulary id_of_;  // the tokens that text can become
  bool byte_level_ = false;
};

void Reader::fail(const std::string& field, const std::string& what, ErrorKind kind) const {
  throw Error(kind, concat(file_, ": ", field.empty() ? "the file" : field, " ", what))
      .in(file_)
      .at(field);
}

void Reader::refuse(const std::string& field, const std::string& what) const {
  fail(field, what, ErrorKind::unsupported);
}

const SortedJson& Reader::member(const SortedJson& object, const char* key,
                                 const std::string& place) {
  const std::string field = place.empty() ? key : place + "." + key;
  if (!object.is_object()) fail(place, "is not a JSON object");
  const auto found = object.find(key);
  if (found == object.end()) fail(field, "is missing");
  return *found;
}

std::string Reader::text(const SortedJson& object, const char* key, const std::string& place) {
  const SortedJson& value = member(object, key, place);
  if (!value.is_string()) fail(place + "." + key, concat("is a ", value.type_name(), ", not text"));
  return value.get<std::string>();
}

bool Reader::flag(const SortedJson& object, const char* key, bool otherwise,
                  const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  if (!found->is_boolean())
    fail(place + "." + key, concat("is a ", found->type_name(), ", not true or false"));
  return found->get<bool>();
}

TokenId Reader::id(const SortedJson& value, std::size_t num_tokens, const std::string& place) {
  if (!value.is_number_unsigned())
    fail(place, concat("has an id that is not a whole number from 0: ", brief(value)));
  const auto number = value.get<std::uint64_t>();
  if (number >= num_tokens)
    fail(place, concat("has id ", number, " in a vocabulary of ", num_tokens,
                       " tokens; ids must be 0, 1, ... without a gap"));
  return static_cast<TokenId>(number);
}

void Reader::read_tokens(const SortedJson& vocab, const SortedJson& added) {
  if (!vocab.is_object()) fail("model.vocab", "is not an object of token: id");
  if (!added.is_array()) fail("added_tokens", "is not a list");
  std::size_t num_tokens = vocab.size();
  for (std::size_t i = 0; i < added.size(); ++i)
    if (!vocab.contains(text(added[i], "content", concat("added_tokens[", i, "]")))) ++num_tokens;
  if (num_tokens > static_cast<std::size_t>(std::numeric_limits<TokenId>::max()))
    fail("model.vocab", concat("has ", num_tokens, " tokens, too many"));

  model_.tokens.resize(num_tokens);
  std::vector<bool> taken(num_tokens, false);
  for (const SortedJson& token : added) {
    const auto content = token["content"].get<std::string>();
    const std::string place = "added_tokens '" + content + "'";
    const TokenId at = id(member(token, "id", place), num_tokens, place);
    const auto in_vocab = vocab.find(content);
    if (in_vocab != vocab.end() && *in_vocab != at)
      fail(place, concat("has id ", at, " here and ", brief(*in_vocab), " in model.vocab"));
    if (taken[static_cast<std::size_t>(at)]) fail(place, concat("has id ", at, ", taken before"));
    taken[static_cast<std::size_t>(at)] = true;
    model_.tokens[static_cast<std::size_t>(at)] = {content, flag(token, "special", false, place),
                                                   true};
  }
  for (const auto& [written, value] : vocab.items()) {
    const std::string place = "model.vocab '" + written + "'";
    const TokenId at = id(value, num_tokens, place);
    BpeModel::Token& token = model_.tokens[static_cast<std::size_t>(at)];
    if (token.added && token.bytes == written) continue;
    if (taken[static_cast<std::size_t>(at)]) fail(place, concat("has id ", at, ", taken before"));
    const std::optional<std::string> bytes = from_byte_alphabet(written);
    if (!bytes || bytes->empty()) fail(place, "is not written in the alphabet of bytes");
    taken[static_cast<std::size_t>(at)] = true;
    token.bytes = *bytes;
    id_of_.emplace(*bytes, at);
  }
}

void Reader::read_byte_ids() {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    const auto found = id_of_.find(bytes);
    if (found == id_of_.end())
      fail("model.vocab", concat("lacks byte ", byte, ", written '", to_byte_alphabet(bytes),
                                 "'; a byte-level vocabulary has all 256"));
    model_.byte_ids[static_cast<std::size_t>(byte)] = found->second;
  }
}

std::pair<std::string, std::string> Reader::merge_parts(const SortedJson& merge,
                                                        const std::string& place) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  if (merge.is_string()) {
    const auto both = merge.get<std::string>();
    const std::size_t space = both.find(' ');
    if (space != std::string::npos && both.find(' ', space + 1) == std::string::npos)
      return {both.substr(0, space), both.substr(space + 1)};
  }
  fail(place, "is neither \"left right\" nor [\"left\", \"right\"]");
}

TokenId Reader::part_id(const std::string& part, const std::string& place) {
  const std::optional<std::string> bytes = from_byte_alphabet(part);
  const auto found = bytes ? id_of_.find(*bytes) : id_of_.end();
  if (found == id_of_.end())
    fail(place, "needs '" + part + "', which is not in model.vocab or is an added token");
  return found->second;
}

void Reader::read_merges(const SortedJson& merges) {
  if (!merges.is_array()) fail("model.merges", "is not a list");
  std::unordered_map<std::uint64_t, std::size_t> seen;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string place = concat("model.merges[", i, "]");
    const auto [left, right] = merge_parts(merges[i], place);
    const Merge merge{part_id(left, place), part_id(right, place), part_id(left + right, place)};
    const auto key =
        static_cast<std::uint64_t>(merge.left) << 32 | static_cast<std::uint32_t>(merge.right);
    const auto [earlier, is_new] = seen.emplace(key, i);
    if (!is_new) fail(place, concat("repeats model.merges[", earlier->second, "]"));
    model_.merges.push_back(merge);
  }
}

void Reader::read_pre_tokenizer(const SortedJson& pre_tokenizer, const std::string& place) {
  const std::string type = text(pre_tokenizer, "type", place);
  if (byte_level_) refuse(place, "has '" + type + "' after ByteLevel; ByteLevel must be the last");
  if (type == "Sequence") {
    const SortedJson& parts = member(pre_tokenizer, "pretokenizers", place);
    if (!parts.is_array()) fail(place + ".pretokenizers", "is not a list");
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::string part = concat(place, ".pretokenizers[", i, "]");
      if (text(parts[i], "type", part) == "Sequence") refuse(part, "is a Sequence in a Sequence");
      read_pre_tokenizer(parts[i], part);
    }
  } else if (type == "ByteLevel") {
    if (flag(pre_tokenizer, "add_prefix_space", true, place))
      refuse(place + ".add_prefix_space", "is true; only text that stays as it is can be encoded");
    if (flag(pre_tokenizer, "use_regex", true, place)) model_.patterns.push_back(kGpt2Pattern);
    byte_level_ = true;
  } else if (type == "Split") {
    const SortedJson& pattern = member(pre_tokenizer, "pattern", place);
    if (!pattern.is_object() || !pattern.contains("Regex"))
      refuse(place + ".pattern", "is not a Regex");
    if (const std::string behavior = text(pre_tokenizer, "behavior", place); behavior != "Isolated")
      refuse(place + ".behavior", "is '" + behavior + "'; known is Isolated");
    model_.patterns.push_back(text(pattern, "Regex", place + ".pattern"));
  } else if (type == "Digits") {
    const bool each = flag(pre_tokenizer, "individual_digits", false, place);
    model_.patterns.push_back(each ? "\\p{N}" : "\\p{N}+");
  } else {
    refuse(place,
           "is '" + type + "'; known are ByteLevel, Split and Digits, alone or in a Sequence");
  }
}

void Reader::read_end_of_text() {
  const auto named = [&](const char* name) {
    return std::find_if(model_.tokens.begin(), model_.tokens.end(),
                        [&](const BpeModel::Token& t) { return t.special && t.bytes == name; });
  };
  for (const char* name : {kEndOfText, "<|end_of_text|>", "</s>"}) {
    const auto found = named(name);
    if (found == model_.tokens.end()) continue;
    model_.end_of_text = static_cast<TokenId>(found - model_.tokens.begin());
    return;
  }
  fail("added_tokens",
       "has no special token <|endoftext|>, <|end_of_text|> or </s>, and documents need one");
}

BpeModel Reader::read(const SortedJson& root) {
  const SortedJson none, no_tokens = SortedJson::array();
  const auto optional = [&](const SortedJson& object, const char* key) -> const SortedJson& {
    const auto found = object.find(key);
    return found == object.end() ? none : *found;
  };
  const SortedJson& model = member(root, "model", "");
  // Old files do not say the type of a BPE.
  if (model.is_object() && model.contains("type") && text(model, "type", "model") != "BPE")
    refuse("model.type", "is '" + text(model, "type", "model") + "'; known is BPE");
  if (const SortedJson& normalizer = optional(root, "normalizer"); !normalizer.is_null())
    refuse("normalizer", "is '" + text(normalizer, "type", "normalizer") + "'; known is none");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix", "dropout"})
    if (const SortedJson& value = optional(model, key);
        !value.is_null() && value != "" && value != 0)
      refuse(concat("model.", key), "is " + brief(value) + "; known is none");

  const SortedJson& added = optional(root, "added_tokens");
  read_tokens(member(model, "vocab", "model"), added.is_null() ? no_tokens : added);
  read_byte_ids();
  read_merges(member(model, "merges", "model"));
  model_.ignore_merges = flag(model, "ignore_merges", false, "model");
  read_pre_tokenizer(member(root, "pre_tokenizer", ""), "pre_tokenizer");
  if (!byte_level_) refuse("pre_tokenizer", "does not end in ByteLevel");
  read_end_of_text();
  return std::move(model_);
}

}  // namespace

std::string to_tokenizer_json(const BpeModel& model) {
  Json vocab = Json::object();
  // Appended, not looked up: the tokens differ, and a lookup goes through all of them. Added tokens
  // stand here too, since a reader may give new ids to those that do not.
  auto& entries = vocab.get_ref<Json::object_t&>();
  Json added = Json::array();
  for (std::size_t id = 0; id < model.tokens.size(); ++id) {
    const BpeModel::Token& token = model.tokens[id];
    entries.emplace_back(token.added ? token.bytes : to_byte_alphabet(token.bytes), id);
    if (token.added)
      added.push_back({{"id", id},
                       {"content", token.bytes},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", token.special}});
  }
  Json merges = Json::array();
  const auto written = [&](TokenId id) {
    return to_byte_alphabet(model.tokens[static_cast<std::size_t>(id)].bytes);
  };
  for (const Merge& merge : model.merges)
    merges.push_back(Json::array({written(merge.left), written(merge.right)}));

  Json root = {{"version", "1.0"},          {"truncation", nullptr},
               {"padding", nullptr},        {"added_tokens", added},
               {"normalizer", nullptr},     {"pre_tokenizer", byte_level(false)},
               {"post_processor", nullptr}, {"decoder", byte_level(true)}};
  root["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"vocab", std::move(vocab)},
                   {"merges", std::move(merges)}};
  return root.dump(1) + "\n";
}

BpeModel parse_tokenizer_json(std::string json, const std::string& file) {
  SortedJson root;
  try {
    root = SortedJson::parse(json);
  } catch (const SortedJson::exception& problem) {
    throw Error(ErrorKind::file, concat(file, ": ", json_problem(problem))).in(file);
  }
  BpeModel model = Reader(file).read(root);
  model.source = std::move(json);
  return model;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  const fs::path path = folder / kTokenizerFile;
  constexpr std::uint64_t kMostBytes = 100'000'000;  // three times the largest in use
  BpeModel model = parse_tokenizer_json(read_file(path, kMostBytes), path.string());
  try {
    return make_bpe_tokenizer(std::move(model));
  } catch (Error& error) {
    throw Error(ErrorKind::file, concat(path.string(), ": ", error.what()))
        .in(path.string())
        .at("pre_tokenizer");
  }
}

}  // namespace mote::text
