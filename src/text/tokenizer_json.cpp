#include "text/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>

#include "text/byte_alphabet.h"
#include "text/pretokenize_patterns.h"
#include "text/tokenizer_json_parts.h"

namespace mote::text {
namespace {

using Kind = TokenizerModel::Kind;

// Builds the model part by part, each from the parts before.
class Reader {
 public:
  explicit Reader(const std::string& file) : json_(file) {}
  TokenizerModel read(const std::string& text, const std::string& end);

 private:
  using Vocabulary = std::unordered_map<std::string, TokenId>;  // what the model matches: its id

  TokenId id(const SortedJson& value, std::size_t num_tokens, const std::string& place) const;
  void read_added(const SortedJson& added, std::size_t num_in_vocab);
  void take(const std::string& written, TokenId at, double score);
  void read_bpe_vocab(const SortedJson& vocab);
  void read_unigram_vocab(const SortedJson& vocab);
  void read_unknown(const SortedJson& model);
  void read_byte_ids();
  void read_merges(const SortedJson& merges);
  std::pair<std::string, std::string> merge_parts(const SortedJson& merge,
                                                  const std::string& place) const;
  TokenId part_id(const std::string& part, const std::string& place) const;
  void find_end_of_text(const std::string& end);
  void warn_of_wrong_cuts();

  const JsonReader json_;
  TokenizerModel model_;
  Vocabulary id_of_;
  std::unordered_map<std::string, TokenId> added_id_;
  std::vector<bool> taken_;
};

TokenId Reader::id(const SortedJson& value, std::size_t num_tokens,
                   const std::string& place) const {
  const std::size_t number = json_.whole(value, place);
  if (number >= num_tokens)
    json_.fail(place, concat("has id ", number, " in a vocabulary of ", num_tokens,
                             " tokens; ids must be 0, 1, ... without a gap"));
  return static_cast<TokenId>(number);
}

// `added_id_` holds those that stand in the model's vocabulary too, with their ids there.
void Reader::read_added(const SortedJson& added, std::size_t num_in_vocab) {
  std::size_t num_tokens = num_in_vocab;
  for (std::size_t i = 0; i < added.size(); ++i)
    if (!added_id_.contains(json_.text(added[i], "content", concat("added_tokens[", i, "]"))))
      ++num_tokens;
  if (num_tokens > static_cast<std::size_t>(std::numeric_limits<TokenId>::max()))
    json_.fail("model.vocab", concat("has ", num_tokens, " tokens, too many"));
  model_.tokens.resize(num_tokens);
  taken_.resize(num_tokens, false);
  for (const SortedJson& token : added) {
    const auto content = token["content"].get<std::string>();
    const std::string place = "added_tokens '" + content + "'";
    if (content.empty()) json_.fail(place, "is empty");
    const TokenId at = id(json_.member(token, "id", place), num_tokens, place);
    const auto in_vocab = added_id_.find(content);
    if (in_vocab != added_id_.end() && in_vocab->second != at)
      json_.fail(place, concat("has id ", at, " here and ", in_vocab->second, " in model.vocab"));
    if (taken_[static_cast<std::size_t>(at)])
      json_.fail(place, concat("has id ", at, ", taken before"));
    taken_[static_cast<std::size_t>(at)] = true;
    const bool special = json_.flag(token, "special", false, place);
    model_.tokens[static_cast<std::size_t>(at)] = {content, special, true, false, 0};
    model_.added.push_back({content, at, special, json_.flag(token, "single_word", false, place),
                            json_.flag(token, "lstrip", false, place),
                            json_.flag(token, "rstrip", false, place),
                            json_.flag(token, "normalized", !special, place)});
    added_id_[content] = at;
  }
}

// A token of the model's vocabulary. One that is added too is matched by its content; the model
// makes it if it is not special.
void Reader::take(const std::string& written, TokenId at, double score) {
  const std::string place = "model.vocab '" + written + "'";
  TokenizerModel::Token& token = model_.tokens[static_cast<std::size_t>(at)];
  const bool added = token.added && token.bytes == written;
  if (!added && taken_[static_cast<std::size_t>(at)])
    json_.fail(place, concat("has id ", at, ", taken before"));
  taken_[static_cast<std::size_t>(at)] = true;
  token.score = score;
  if (token.special) return;
  std::string matched = written;
  if (model_.kind == Kind::byte_bpe) {
    const std::optional<std::string> bytes = from_byte_alphabet(written);
    if (!added && (!bytes || bytes->empty()))
      json_.fail(place, "is not written in the alphabet of bytes");
    if (!bytes || (added && *bytes != written)) return;
    matched = *bytes;
  } else if (written.empty() && !added) {
    json_.fail(place, "is empty");
  }
  token.in_model = true;
  id_of_.emplace(matched, at);
  token.bytes = std::move(matched);
}

void Reader::read_bpe_vocab(const SortedJson& vocab) {
  for (const auto& [written, value] : vocab.items())
    take(written, id(value, model_.tokens.size(), "model.vocab '" + written + "'"), 0);
}

void Reader::read_unigram_vocab(const SortedJson& vocab) {
  model_.least_score = std::numeric_limits<double>::infinity();
  for (std::size_t at = 0; at < vocab.size(); ++at) {
    const double score = vocab[at][1].get<double>();
    model_.least_score = std::min(model_.least_score, score);
    take(vocab[at][0].get<std::string>(), static_cast<TokenId>(at), score);
  }
}

void Reader::read_unknown(const SortedJson& model) {
  if (model_.kind == Kind::unigram) {
    if (const SortedJson& unknown = json_.optional(model, "unk_id"); !unknown.is_null())
      model_.unknown = id(unknown, model_.tokens.size(), "model.unk_id");
    model_.fuse_unknown = true;
  } else {
    if (const SortedJson& unknown = json_.optional(model, "unk_token"); !unknown.is_null()) {
      const std::string name = json_.text(model, "unk_token", "model");
      const auto found =
          std::find_if(model_.tokens.begin(), model_.tokens.end(),
                       [&](const TokenizerModel::Token& token) { return token.bytes == name; });
      if (found == model_.tokens.end())
        json_.fail("model.unk_token", "is no token: '" + name + "'");
      model_.unknown = static_cast<TokenId>(found - model_.tokens.begin());
    }
    model_.fuse_unknown = json_.flag(model, "fuse_unk", false, "model");
  }
  if (model_.kind != Kind::byte_bpe && !model_.byte_fallback && !model_.unknown)
    json_.refuse("model",
                 "has neither byte_fallback nor a token for unknown characters, which "
                 "would be lost");
}

void Reader::read_byte_ids() {
  const bool fallback = model_.kind != Kind::byte_bpe;
  model_.byte_ids.fill(-1);
  for (int byte = 0; byte < 256; ++byte) {
    char hex[8];
    std::snprintf(hex, sizeof hex, "<0x%02X>", static_cast<unsigned>(byte));
    const std::string bytes = fallback ? std::string(hex) : std::string(1, static_cast<char>(byte));
    const auto found = id_of_.find(bytes);
    if (found != id_of_.end())
      model_.byte_ids[static_cast<std::size_t>(byte)] = found->second;
    else if (fallback)
      json_.fail("model.vocab", concat("lacks byte ", byte, ", written '", bytes,
                                       "'; byte_fallback needs all 256"));
  }
  if (!fallback && !note_missing_bytes(model_, json_.file()))
    json_.fail("model.vocab", "has no token of a single byte");
}

std::pair<std::string, std::string> Reader::merge_parts(const SortedJson& merge,
                                                        const std::string& place) const {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  if (merge.is_string()) {
    const auto both = merge.get<std::string>();
    const std::size_t space = both.find(' ');
    if (space != std::string::npos && both.find(' ', space + 1) == std::string::npos)
      return {both.substr(0, space), both.substr(space + 1)};
  }
  json_.fail(place, "is neither \"left right\" nor [\"left\", \"right\"]");
}

TokenId Reader::part_id(const std::string& part, const std::string& place) const {
  const std::optional<std::string> bytes =
      model_.kind == Kind::byte_bpe ? from_byte_alphabet(part) : part;
  const auto found = bytes ? id_of_.find(*bytes) : id_of_.end();
  if (found == id_of_.end())
    json_.fail(place, "needs '" + part +
                          "', which is not in model.vocab or is an added token that is special");
  return found->second;
}

void Reader::read_merges(const SortedJson& merges) {
  std::unordered_map<std::uint64_t, std::size_t> seen;
  seen.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string place = concat("model.merges[", i, "]");
    const auto [left, right] = merge_parts(merges[i], place);
    const Merge merge{part_id(left, place), part_id(right, place), part_id(left + right, place)};
    const auto key =
        static_cast<std::uint64_t>(merge.left) << 32 | static_cast<std::uint32_t>(merge.right);
    const auto [earlier, is_new] = seen.emplace(key, i);
    if (!is_new) json_.fail(place, concat("repeats model.merges[", earlier->second, "]"));
    model_.merges.push_back(merge);
  }
}

void Reader::find_end_of_text(const std::string& end) {
  const auto named = [&](const std::string& name) {
    return std::find_if(
        model_.tokens.begin(), model_.tokens.end(),
        [&](const TokenizerModel::Token& t) { return t.special && t.bytes == name; });
  };
  for (const std::string& name : {std::string(kEndOfText), std::string("<|end_of_text|>"),
                                  std::string("</s>"), std::string("<eos>"),
                                  std::string("<\xEF\xBD\x9C"
                                              "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"),
                                  end}) {
    const auto found = named(name);
    if (found == model_.tokens.end() || name.empty()) continue;
    model_.end_of_text = static_cast<TokenId>(found - model_.tokens.begin());
    return;
  }
  json_.fail(
      "added_tokens",
      "has no special token <|endoftext|>, <|end_of_text|>, </s> or <eos>, nor the eos_token "
      "of tokenizer_config.json, and documents need one");
}

// Mistral's files of 2025 have Llama 3's pattern, where the model was trained with Tekken's: eBay, mL
// and NaOH are cut differently (transformers issue 42389).
void Reader::warn_of_wrong_cuts() {
  constexpr std::size_t kTekken =
      100'000;  // its vocabulary is larger, Mistral's others are smaller
  const auto has = [&](const char* name) { return added_id_.contains(name); };
  if (model_.kind != Kind::byte_bpe || model_.tokens.size() < kTekken || !has("[INST]") ||
      !has("[/INST]") || !has("[TOOL_CALLS]"))
    return;
  if (model_.steps == std::vector<PreStep>{{PreStep::Kind::cut, {kLlama3Pattern}, {}}})
    model_.warnings.push_back(
        concat(json_.file(),
               ": pre_tokenizer is Llama 3's, and this vocabulary was learned with "
               "Tekken's: words such as eBay are cut otherwise than in training. It is "
               "used as it is written; a newer tokenizer.json of the model is right"));
}

TokenizerModel Reader::read(const std::string& text, const std::string& end) {
  const SortedJson root = json_.parse(text);
  const SortedJson& model = json_.member(root, "model", "");
  if (!model.is_object()) json_.fail("model", "is not a JSON object");
  const SortedJson& vocab = json_.member(model, "vocab", "model");
  // Old files do not say the type of a BPE.
  const std::string type =
      model.contains("type") ? json_.text(model, "type", "model") : std::string("BPE");
  if (type != "BPE" && type != "Unigram")
    json_.refuse("model.type", "is '" + type + "'; known are BPE and Unigram");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix", "dropout"})
    if (const SortedJson& value = json_.optional(model, key);
        !value.is_null() && value != "" && value != 0)
      json_.refuse(concat("model.", key), "is " + brief(value) + "; known is none");
  for (const char* key : {"truncation", "padding"})
    if (!json_.optional(root, key).is_null() && !json_.optional(root, key).is_object())
      json_.fail(key, "is not a JSON object");

  model_.kind = type == "BPE" ? Kind::character_bpe : Kind::unigram;
  read_normalizer(json_, json_.optional(root, "normalizer"), model_);
  read_pre_tokenizer(json_, json_.optional(root, "pre_tokenizer"), model_);
  if (type == "Unigram" && model_.kind != Kind::unigram)
    json_.refuse("model.type", "is 'Unigram' and pre_tokenizer has ByteLevel; known is BPE there");
  model_.byte_fallback = json_.flag(model, "byte_fallback", false, "model");
  if (model_.byte_fallback && model_.kind == Kind::byte_bpe)
    json_.refuse("model.byte_fallback", "is true and pre_tokenizer has ByteLevel");
  model_.ignore_merges = json_.flag(model, "ignore_merges", false, "model");

  const SortedJson no_tokens = SortedJson::array();
  const SortedJson& added = json_.optional(root, "added_tokens").is_null()
                                ? no_tokens
                                : json_.list(root, "added_tokens", "");
  if (type == "BPE") {
    if (!vocab.is_object()) json_.fail("model.vocab", "is not an object of token: id");
    for (std::size_t i = 0; i < added.size(); ++i) {
      const std::string content = json_.text(added[i], "content", concat("added_tokens[", i, "]"));
      if (const auto found = vocab.find(content); found != vocab.end())
        added_id_[content] =
            id(*found, vocab.size() + added.size(), "model.vocab '" + content + "'");
    }
  } else {
    if (!vocab.is_array()) json_.fail("model.vocab", "is not a list of [token, score]");
    for (std::size_t at = 0; at < vocab.size(); ++at) {
      const SortedJson& row = vocab[at];
      if (!row.is_array() || row.size() != 2 || !row[0].is_string() || !row[1].is_number())
        json_.fail(concat("model.vocab[", at, "]"), "is not [token, score]");
      added_id_.emplace(row[0].get<std::string>(), static_cast<TokenId>(at));
    }
  }
  read_added(added, vocab.size());
  if (type == "BPE")
    read_bpe_vocab(vocab);
  else
    read_unigram_vocab(vocab);
  if (model_.kind == Kind::byte_bpe || model_.byte_fallback) read_byte_ids();
  read_unknown(model);
  if (type == "BPE") read_merges(json_.list(model, "merges", "model"));
  read_post_processor(json_, json_.optional(root, "post_processor"), model_);
  read_decoder(json_, json_.optional(root, "decoder"), model_);
  find_end_of_text(end);
  warn_of_wrong_cuts();
  return std::move(model_);
}

}  // namespace

TokenizerModel parse_tokenizer_json(std::string json, const std::string& file,
                                    const std::string& end) {
  TokenizerModel model = Reader(file).read(json, end);
  model.source = std::move(json);
  return model;
}

}  // namespace mote::text
