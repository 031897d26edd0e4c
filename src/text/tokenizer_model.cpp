#include "text/tokenizer_model.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/file.h"
#include "base/process.h"
#include "text/bpe_merge.h"
#include "text/piece_cache.h"
#include "text/token_index.h"
#include "text/tokenizer_json.h"
#include "text/unigram.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using Kind = TokenizerModel::Kind;
constexpr std::string_view kSign = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// Whether a sign begins at byte `at`, which is not the first, and does not follow another.
bool new_sign(std::string_view text, std::size_t at) {
  return text.substr(at).starts_with(kSign) && !text.substr(0, at).ends_with(kSign);
}

class ListedMerges final : public Merges {
 public:
  explicit ListedMerges(const std::vector<Merge>& merges) : table_(merges.size()) {
    std::int32_t rank = 0;
    for (const Merge& merge : merges) table_.add(merge.left, merge.right, {rank++, merge.result});
  }
  bool empty() const { return table_.empty(); }
  RankedMerge of(const Symbol& left, const Symbol& right, std::string_view) const override {
    const RankedMerge* found = table_.find(left.id, right.id);
    return found == nullptr ? RankedMerge{} : *found;
  }

 private:
  MergeTable table_;
};

// Pairs whose text is a token; its rank is the place of its score among all, equal scores together.
class ScoredMerges final : public Merges {
 public:
  ScoredMerges(const std::vector<TokenizerModel::Token>& tokens, const TokenIndex& vocabulary)
      : vocabulary_(vocabulary), rank_(tokens.size()) {
    std::vector<double> scores;
    for (const TokenizerModel::Token& token : tokens) scores.push_back(token.score);
    std::sort(scores.begin(), scores.end(), std::greater<>());
    for (std::size_t id = 0; id < tokens.size(); ++id)
      rank_[id] = static_cast<std::int32_t>(
          std::lower_bound(scores.begin(), scores.end(), tokens[id].score, std::greater<>()) -
          scores.begin());
  }
  RankedMerge of(const Symbol& left, const Symbol& right, std::string_view piece) const override {
    const auto found = vocabulary_.find(piece.substr(left.begin, right.end - left.begin));
    if (!found) return {};
    return {rank_[static_cast<std::size_t>(*found)], *found};
  }

 private:
  const TokenIndex& vocabulary_;
  std::vector<std::int32_t> rank_;
};

class ModelTokenizer final : public Tokenizer {
 public:
  explicit ModelTokenizer(TokenizerModel model);

  using Tokenizer::encode;
  int vocab_size() const override { return static_cast<int>(model_.tokens.size()); }
  const TokenizerModel* model() const override { return &model_; }
  TokenId end_of_text() const override { return model_.end_of_text; }
  void encode(std::string_view text, std::vector<TokenId>& ids, Specials specials) const override;
  std::vector<std::string_view> parts(std::string_view text, std::size_t bytes) const override;
  std::string_view bytes(TokenId id) const override {
    return token(id).special ? std::string_view() : decoded(id);
  }
  std::string name(TokenId id) const override { return token(id).bytes; }
  bool special(TokenId id) const override { return token(id).special; }
  std::optional<TokenId> find(std::string_view name) const override;
  const DecodeRules& decode_rules() const override { return model_.decode_rules; }
  const TokenRoles& roles() const override { return model_.roles; }
  const Around& around() const override { return model_.around; }
  const std::vector<std::string>& warnings() const override { return model_.warnings; }
  bool lossless() const override {
    return model_.kind == Kind::byte_bpe && model_.normalizer.empty() &&
           std::find(model_.byte_ids.begin(), model_.byte_ids.end(), -1) == model_.byte_ids.end() &&
           std::all_of(model_.steps.begin(), model_.steps.end(), [](const PreStep& step) {
             return step.kind == PreStep::Kind::cut && step.cut.behavior != Cut::Behavior::removed;
           });
  }
  void save(const std::filesystem::path& folder) const override;

 private:
  class Encoding;
  const TokenizerModel::Token& token(TokenId id) const;
  std::string_view decoded(TokenId id) const {
    if (decoded_ends_.empty()) return token(id).bytes;
    const auto i = static_cast<std::size_t>(id);
    const std::size_t begin = i == 0 ? 0 : decoded_ends_[i - 1];
    return std::string_view(decoded_).substr(begin, decoded_ends_[i] - begin);
  }
  std::string as_decoded(const std::string& token) const;
  void prepare_decoding();

  const TokenizerModel model_;
  const PreTokenizer pre_tokenizer_;
  AddedTokens raw_added_, normalized_added_;
  bool adds_to_plain_text_ = false;  // some added token is not special
  TokenIndex vocabulary_{
      model_.tokens};  // tokens that the model can make, where it looks for them by text
  std::unique_ptr<ListedMerges> listed_;
  std::unique_ptr<ScoredMerges> scored_;
  Unigram unigram_;
  bool cut_at_signs_ = false;  // no token reaches across the start of a run of signs
  // One after another by id, where tokens are not written as they decode.
  std::string decoded_;
  std::vector<std::size_t> decoded_ends_;
};

// One call: text goes in at add(), ids come out.
class ModelTokenizer::Encoding {
 public:
  Encoding(const ModelTokenizer& tokenizer, std::vector<TokenId>& ids, bool specials)
      : t_(tokenizer), model_(tokenizer.model_), ids_(ids), specials_(specials) {}

  void add(std::string_view text);

 private:
  void section(std::string_view text, bool at_start);
  void normalized(std::string_view text, bool at_start);
  void valid(std::string_view text, bool at_start);
  void piece(std::string_view piece);
  void word(std::string_view word);
  void cut_word(std::string_view word);
  void characters(std::string_view word);
  void leftover(std::string_view text);

  const ModelTokenizer& t_;
  const TokenizerModel& model_;
  std::vector<TokenId>& ids_;
  const bool specials_;
  bool after_special_ = true;
  std::size_t unknown_from_ = 0;  // where the ids of the word at hand begin
  PieceCache cache_;
  PieceMerger merger_;
};

void ModelTokenizer::Encoding::add(std::string_view text) {
  std::string replaced;
  if (model_.kind != Kind::byte_bpe && valid_utf8_prefix(text) < text.size())
    text = replaced = replace_invalid_utf8(text);
  for (std::size_t at = 0; at < text.size();) {
    const auto match = t_.raw_added_.empty() ? AddedTokens::Match{text.size(), text.size(), 0}
                                             : t_.raw_added_.find(text, at, specials_);
    if (match.begin > at) section(text.substr(at, match.begin - at), at == 0);
    if (match.end > match.begin) ids_.push_back(match.id), after_special_ = true;
    at = match.end;
  }
}

void ModelTokenizer::Encoding::section(std::string_view text, bool at_start) {
  std::string changed;
  if (model_.spaces_to_signs) {
    if (model_.space_prefix && after_special_) changed = kSign;
    for (const char c : text)
      if (c == ' ')
        changed += kSign;
      else
        changed += c;
    text = changed;
  }
  after_special_ = false;
  if (model_.normalizer.empty()) return normalized(text, at_start);
  // What is not UTF-8 is passed by.
  while (!text.empty()) {
    const std::size_t good = valid_utf8_prefix(text);
    if (good > 0) normalized(model_.normalizer.apply(text.substr(0, good)), at_start);
    text.remove_prefix(good);
    at_start = false;
    std::size_t bad = 0;
    while (bad < text.size() &&
           first_sequence(text.substr(bad)).kind != Utf8Sequence::Kind::character)
      bad += first_sequence(text.substr(bad)).length;
    if (bad > 0) piece(text.substr(0, bad));
    text.remove_prefix(bad);
  }
}

void ModelTokenizer::Encoding::normalized(std::string_view text, bool at_start) {
  if (t_.normalized_added_.empty()) return valid(text, at_start);
  for (std::size_t at = 0; at < text.size();) {
    const auto match = t_.normalized_added_.find(text, at, specials_);
    if (match.begin > at) valid(text.substr(at, match.begin - at), at_start && at == 0);
    if (match.end > match.begin) ids_.push_back(match.id);
    at = match.end;
  }
}

void ModelTokenizer::Encoding::valid(std::string_view text, bool at_start) {
  const auto each = [&](std::string_view cut) { piece(cut); };
  if (model_.kind == Kind::byte_bpe)
    t_.pre_tokenizer_.split(text, each);
  else
    t_.pre_tokenizer_.split_valid(text, at_start, each);
}

void ModelTokenizer::Encoding::piece(std::string_view text) {
  if (!t_.cut_at_signs_) return word(text);
  std::size_t begin = 0;
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] != kSign[0] || !new_sign(text, at)) continue;
    word(text.substr(begin, at - begin));
    begin = at;
  }
  word(text.substr(begin));
}

void ModelTokenizer::Encoding::word(std::string_view text) {
  stop_if_interrupted();
  if (const auto* known = cache_.find(text)) {
    ids_.insert(ids_.end(), known->begin(), known->end());
    return;
  }
  const std::size_t begin = ids_.size();
  cut_word(text);
  cache_.add(text, std::span(ids_).subspan(begin));
}

void ModelTokenizer::Encoding::cut_word(std::string_view text) {
  unknown_from_ = ids_.size();
  if (model_.ignore_merges) {
    if (const auto found = t_.vocabulary_.find(text)) return ids_.push_back(*found);
  }
  if (model_.kind == Kind::unigram) {
    for (const Unigram::Part& part : t_.unigram_.cut(text, model_.fuse_unknown)) {
      if (part.id >= 0)
        ids_.push_back(part.id);
      else
        leftover(text.substr(part.begin, part.end - part.begin));
    }
    return;
  }
  merger_.clear();
  if (model_.kind == Kind::byte_bpe) {
    for (std::size_t i = 0; i < text.size(); ++i)
      if (const TokenId id = model_.byte_ids[static_cast<std::uint8_t>(text[i])]; id >= 0)
        merger_.add(id, i, i + 1);
  } else {
    characters(text);
  }
  if (model_.kind == Kind::scored_bpe)
    merger_.merge(text, *t_.scored_);
  else
    merger_.merge(text, *t_.listed_);
  merger_.for_each([&](const Symbol& symbol) {
    if (symbol.id >= 0)
      ids_.push_back(symbol.id);
    else
      leftover(text.substr(symbol.begin, symbol.end - symbol.begin));
  });
}

// A character that is no token: by the list's merges its bytes are symbols, by scores it may still
// become part of a token.
void ModelTokenizer::Encoding::characters(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = first_sequence(text.substr(at)).length;
    const auto found = t_.vocabulary_.find(text.substr(at, length));
    if (found) {
      merger_.add(*found, at, at + length);
    } else if (model_.byte_fallback && model_.kind == Kind::character_bpe) {
      for (std::size_t i = at; i < at + length; ++i)
        merger_.add(model_.byte_ids[static_cast<std::uint8_t>(text[i])], i, i + 1);
    } else {
      merger_.add(-1, at, at + length);
    }
    at += length;
  }
}

void ModelTokenizer::Encoding::leftover(std::string_view text) {
  if (model_.byte_fallback) {
    for (const char c : text) ids_.push_back(model_.byte_ids[static_cast<std::uint8_t>(c)]);
    return;
  }
  const bool again = model_.fuse_unknown && ids_.size() > unknown_from_ &&
                     ids_.back() == *model_.unknown && model_.kind != Kind::unigram;
  if (!again) ids_.push_back(*model_.unknown);
}

ModelTokenizer::ModelTokenizer(TokenizerModel model)
    : model_(std::move(model)), pre_tokenizer_(model_.steps) {
  std::vector<AddedToken> raw, after_normalizing;
  for (AddedToken token : model_.added) {
    adds_to_plain_text_ = adds_to_plain_text_ || !token.special;
    if (token.normalized) {
      token.content = model_.normalizer.apply(token.content);
      after_normalizing.push_back(std::move(token));
    } else {
      raw.push_back(std::move(token));
    }
  }
  raw_added_ = AddedTokens(std::move(raw));
  normalized_added_ = AddedTokens(std::move(after_normalizing));

  const bool by_text =
      model_.ignore_merges || model_.kind == Kind::character_bpe || model_.kind == Kind::scored_bpe;
  if (by_text) vocabulary_.reserve();
  bool crosses = model_.kind == Kind::byte_bpe || model_.kind == Kind::unigram;
  if (model_.kind == Kind::unigram) unigram_.set_least(model_.least_score);
  for (std::size_t id = 0; id < model_.tokens.size(); ++id) {
    const TokenizerModel::Token& token = model_.tokens[id];
    if (!token.in_model || token.bytes.empty()) continue;
    if (by_text) vocabulary_.add(static_cast<TokenId>(id));
    if (model_.kind == Kind::unigram)
      unigram_.add(token.bytes, static_cast<TokenId>(id), token.score);
    for (std::size_t at = 1; !crosses && at < token.bytes.size(); ++at)
      crosses = token.bytes[at] == kSign[0] && new_sign(token.bytes, at);
  }
  cut_at_signs_ = !crosses;
  if (model_.kind == Kind::scored_bpe)
    scored_ = std::make_unique<ScoredMerges>(model_.tokens, vocabulary_);
  else
    listed_ = std::make_unique<ListedMerges>(model_.merges);
  prepare_decoding();
}

std::string ModelTokenizer::as_decoded(const std::string& token) const {
  std::string text = token;
  for (const auto& [from, to] : model_.decode_replacements) {
    std::string changed;
    for (std::size_t at = 0; at < text.size();) {
      const bool here = std::string_view(text).substr(at).starts_with(from);
      changed += here ? std::string_view(to) : std::string_view(text).substr(at, 1);
      at += here ? from.size() : 1;
    }
    text = std::move(changed);
    MOTE_CHECK(text.size() <= 8 * token.size() + 64, "the decoder makes ", text.size(),
               " bytes of token '", token, "'; its replacements are too long");
  }
  return text;
}

void ModelTokenizer::prepare_decoding() {
  if (model_.kind == Kind::byte_bpe) return;
  std::map<TokenId, char> byte_of;
  for (std::size_t byte = 0; model_.byte_fallback && byte < 256; ++byte)
    byte_of[model_.byte_ids[byte]] = static_cast<char>(byte);
  decoded_ends_.reserve(model_.tokens.size());
  for (std::size_t id = 0; id < model_.tokens.size(); ++id) {
    const std::string& bytes = model_.tokens[id].bytes;
    if (const auto byte = byte_of.find(static_cast<TokenId>(id)); byte != byte_of.end())
      decoded_ += byte->second;
    else
      decoded_ += as_decoded(bytes);
    decoded_ends_.push_back(decoded_.size());
  }
  decoded_.shrink_to_fit();
}

const TokenizerModel::Token& ModelTokenizer::token(TokenId id) const {
  MOTE_CHECK(id >= 0 && id < vocab_size(), "token id ", id, " is outside the vocabulary of ",
             vocab_size());
  return model_.tokens[static_cast<std::size_t>(id)];
}

std::optional<TokenId> ModelTokenizer::find(std::string_view wanted) const {
  for (std::size_t id = 0; id < model_.tokens.size(); ++id)
    if (model_.tokens[id].bytes == wanted) return static_cast<TokenId>(id);
  return std::nullopt;
}

std::vector<std::string_view> ModelTokenizer::parts(std::string_view text,
                                                    std::size_t bytes) const {
  const bool words = model_.kind == Kind::byte_bpe && model_.normalizer.empty() &&
                     !adds_to_plain_text_ &&
                     model_.steps == std::vector<PreStep>{{PreStep::Kind::cut, {kGpt2Pattern}, {}}};
  if (text.empty() || !words) return {text};
  return cut_between_words(text, bytes);
}

void ModelTokenizer::encode(std::string_view text, std::vector<TokenId>& ids,
                            Specials specials) const {
  const bool recognised = specials == Specials::recognised;
  if (model_.kind == Kind::byte_bpe && listed_->empty() && vocabulary_.empty() &&
      !adds_to_plain_text_ && !recognised && model_.normalizer.empty()) {
    for (const char c : text)
      if (const TokenId id = model_.byte_ids[static_cast<std::uint8_t>(c)]; id >= 0)
        ids.push_back(id);
    return;
  }
  Encoding(*this, ids, recognised).add(text);
}

void ModelTokenizer::save(const std::filesystem::path& folder) const {
  write_file(folder / kTokenizerFile,
             model_.source.empty() ? to_tokenizer_json(model_) : model_.source);
  for (const auto& [file, content] : model_.companions) write_file(folder / file, content);
}

}  // namespace

TokenizerModel byte_model() {
  TokenizerModel model;
  for (int byte = 0; byte < 256; ++byte) {
    model.byte_ids[static_cast<std::size_t>(byte)] = byte;
    model.tokens.push_back({std::string(1, static_cast<char>(byte))});
  }
  model.end_of_text = static_cast<TokenId>(model.tokens.size());
  model.tokens.push_back({kEndOfText, true, true, false});
  model.added.push_back({kEndOfText, model.end_of_text, true});
  model.steps = {{PreStep::Kind::cut, {kGpt2Pattern}, {}}};
  return model;
}

bool note_missing_bytes(TokenizerModel& model, const std::string& file) {
  const auto missing = std::count(model.byte_ids.begin(), model.byte_ids.end(), -1);
  if (missing > 0)
    model.warnings.push_back(concat(file, ": the vocabulary lacks ", missing,
                                    " of the 256 bytes, which are left out of texts"));
  return missing < std::ssize(model.byte_ids);
}

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerModel model) {
  return std::make_unique<ModelTokenizer>(std::move(model));
}

}  // namespace mote::text
