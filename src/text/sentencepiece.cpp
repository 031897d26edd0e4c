#include "text/sentencepiece.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/file.h"
#include "text/added_tokens.h"
#include "text/charsmap.h"
#include "text/protobuf_fields.h"
#include "text/unicode.h"
#include "text/unigram.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using Library = sentencepiece::SentencePieceProcessor;
constexpr std::string_view kSign = "\xE2\x96\x81";  // U+2581, the library's space

// What the library does not tell of a file, and whether it is safe to give it to the library.
struct Summary {
  int model_type = 1;  // unigram
  bool dummy_prefix = true, remove_extra_spaces = true, spaces_after = false, byte_fallback = false;
  std::unordered_set<std::size_t> user_defined;  // pieces
};

// Whether the piece is user-defined.
bool check_piece(const ProtobufField& piece, std::size_t number,
                 std::unordered_set<std::string>& met) {
  std::string text;
  std::uint64_t type = 1;
  for_each_field(piece.bytes, [&](const ProtobufField& field) {
    if (field.number == 1) text = field.bytes;
    if (field.number == 2)
      MOTE_CHECK(std::isfinite(std::bit_cast<float>(static_cast<std::uint32_t>(field.value))),
                 "piece ", number, " has a score that is no number");
    if (field.number == 3)
      MOTE_CHECK(field.value >= 1 && field.value <= 6, "piece ", number, " is of type ",
                 field.value, "; known are 1 to 6");
    if (field.number == 3) type = field.value;
  });
  MOTE_CHECK(!text.empty() && text.find('\0') == std::string::npos &&
                 valid_utf8_prefix(text) == text.size(),
             "piece ", number, " is empty or not UTF-8");
  MOTE_CHECK(met.insert(std::move(text)).second, "piece ", number, " repeats an earlier one");
  return type == 4;
}

Summary summary_of(std::string_view model) {
  Summary summary;
  std::unordered_set<std::string> met;
  std::size_t pieces = 0;
  for_each_field(model, [&](const ProtobufField& part) {
    if (part.number == 1 && check_piece(part, pieces, met)) summary.user_defined.insert(pieces);
    if (part.number == 1) ++pieces;
    if (part.number != 2 && part.number != 3 && part.number != 5) return;
    for_each_field(part.bytes, [&](const ProtobufField& field) {
      if (part.number == 2 && field.number == 3) summary.model_type = static_cast<int>(field.value);
      if (part.number == 2 && field.number == 35) summary.byte_fallback = field.value != 0;
      if (part.number == 2 && field.number == 24) summary.spaces_after = field.value != 0;
      if (part.number != 2 && field.number == 2 && !field.bytes.empty()) Charsmap{field.bytes};
      if (part.number == 3 && field.number == 3) summary.dummy_prefix = field.value != 0;
      if (part.number == 3 && field.number == 4) summary.remove_extra_spaces = field.value != 0;
    });
  });
  MOTE_CHECK(pieces > 0, "it has no pieces");
  MOTE_CHECK(pieces < std::size_t{std::numeric_limits<TokenId>::max()} / 2, "it has ", pieces,
             " pieces, too many");
  MOTE_CHECK(summary.model_type == 1 || summary.model_type == 2, "its model_type is ",
             summary.model_type, "; known are 1 (unigram) and 2 (BPE)");
  MOTE_CHECK(!summary.spaces_after, "treat_whitespace_as_suffix is true; known is false");
  return summary;
}

void check(const sentencepiece::util::Status& status, const std::string& what) {
  MOTE_CHECK(status.ok(), what, ": ", status.ToString());
}

void load(Library& library, const std::string& model) {
  check(library.LoadFromSerializedProto(model), "SentencePiece refuses it");
}

// A later field of a message is joined to an earlier one of its number: normalizer_spec
// {add_dummy_prefix: false}.
std::string without_dummy_prefix(const std::string& model) {
  return model + std::string("\x1A\x02\x18\x00", 4);
}

std::string with_spaces(std::string text, std::string_view sign) {
  for (std::size_t at = 0; (at = text.find(sign, at)) != std::string::npos; ++at)
    text.replace(at, sign.size(), " ");
  return text;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(const std::string& model, SentencePieceOptions options);

  using Tokenizer::encode;
  int vocab_size() const override { return static_cast<int>(names_.size()); }
  TokenId end_of_text() const override { return *roles_.end; }
  void encode(std::string_view text, std::vector<TokenId>& ids, Specials specials) const override;
  std::string_view bytes(TokenId id) const override {
    return special_[index(id)] ? std::string_view() : std::string_view(bytes_[index(id)]);
  }
  std::string name(TokenId id) const override { return names_[index(id)]; }
  bool special(TokenId id) const override { return special_[index(id)]; }
  const DecodeRules& decode_rules() const override { return rules_; }
  const TokenRoles& roles() const override { return roles_; }
  const Around& around() const override { return around_; }
  bool lossless() const override { return false; }
  void save(const std::filesystem::path& folder) const override {
    for (const auto& [name, content] : options_.files) write_file(folder / name, content);
  }

 private:
  std::size_t index(TokenId id) const {
    MOTE_CHECK(id >= 0 && id < vocab_size(), "token id ", id, " is outside the vocabulary of ",
               vocab_size());
    return static_cast<std::size_t>(id);
  }
  void add_piece(TokenId id);
  void add_token(const std::string& content, TokenId id, bool special, bool strips);
  void make_unigram(const Summary& summary);
  std::vector<int> ids_of(const Library& library, const std::string& text) const;
  // One that has special tokens beside it.
  std::vector<int> section(std::string_view text, bool first) const;

  const SentencePieceOptions options_;
  Library library_, bare_;  // as the file says; without the space before text
  // The library's versions add scores in different order and so break ties differently. It cuts
  // text into pieces that together are its normalized form, and this cuts that again, in double.
  std::optional<Unigram> unigram_;
  std::size_t unknown_length_ = 0;
  AddedTokens added_;
  std::vector<AddedToken> found_in_text_;
  std::vector<std::string> names_, bytes_;  // by id
  std::vector<bool> special_;
  DecodeRules rules_;
  TokenRoles roles_;
  Around around_;
};

SentencePieceTokenizer::SentencePieceTokenizer(const std::string& model,
                                               SentencePieceOptions options)
    : options_(std::move(options)) {
  const Summary summary = summary_of(model);
  load(library_, model);
  load(bare_, without_dummy_prefix(model));
  for (TokenId id = 0; id < library_.GetPieceSize(); ++id) add_piece(id);
  const auto pieces = static_cast<TokenId>(names_.size());
  for (int i = options_.extra_ids; i-- > 0;)
    add_token(concat("<extra_id_", i, ">"), pieces + options_.extra_ids - 1 - i, true, true);
  for (const SentencePieceOptions::Added& token : options_.added)
    add_token(token.content, token.id, token.special, false);
  added_ = AddedTokens(found_in_text_);

  const auto role = [&](int id) { return id < 0 ? std::nullopt : std::optional<TokenId>(id); };
  roles_ = {role(library_.bos_id()), role(library_.eos_id()), role(library_.pad_id()),
            role(library_.unk_id())};
  MOTE_CHECK(roles_.end, "it has no end token (eos_id), and documents need one");
  MOTE_CHECK(roles_.unknown, "it has no token for unknown characters");
  MOTE_CHECK(roles_.begin || !options_.add_begin,
             "add_bos_token is true and it has no begin token");
  if (options_.add_begin) around_.before = {*roles_.begin};
  if (options_.add_end) around_.after = {*roles_.end};
  rules_.each_byte = true;
  if (summary.remove_extra_spaces)
    rules_.start = DecodeRules::Start::without_spaces;
  else if (summary.dummy_prefix)
    rules_.start = DecodeRules::Start::without_space;
  if (summary.model_type == 1 && !summary.byte_fallback) make_unigram(summary);
  unknown_length_ = ids_of(bare_, library_.IdToPiece(*roles_.unknown)).size();
}

void SentencePieceTokenizer::add_piece(TokenId id) {
  const std::string& name = library_.IdToPiece(id);
  const bool unknown = library_.IsUnknown(id), control = library_.IsControl(id);
  std::string bytes = with_spaces(name, kSign);
  if (unknown) bytes = " \xE2\x81\x87 ";  // the library's surface of what it does not know
  if (library_.IsByte(id))
    bytes = std::string(1, static_cast<char>(std::stoi(name.substr(3, 2), nullptr, 16)));
  names_.push_back(name);
  bytes_.push_back(bytes);
  special_.push_back(control);
  if (control || unknown) found_in_text_.push_back({name, id, true});
}

void SentencePieceTokenizer::add_token(const std::string& content, TokenId id, bool special,
                                       bool strips) {
  const auto next = static_cast<TokenId>(names_.size());
  if (id < next) {
    MOTE_CHECK(names_[index(id)] == content, "token ", id, " is '", names_[index(id)],
               "' in the model and '", content, "' among the added tokens");
    return;
  }
  MOTE_CHECK(id == next, "added token '", content, "' has id ", id, " and ", next,
             " is the next free one; ids must be without a gap");
  names_.push_back(content);
  bytes_.push_back(content);
  special_.push_back(special);
  found_in_text_.push_back({content, id, special, false, strips, strips});
}

void SentencePieceTokenizer::make_unigram(const Summary& summary) {
  unigram_.emplace();
  float least = std::numeric_limits<float>::max(), most = std::numeric_limits<float>::lowest();
  for (int id = 0; id < library_.GetPieceSize(); ++id) {
    const bool user_defined = summary.user_defined.contains(static_cast<std::size_t>(id));
    if (library_.IsControl(id) || library_.IsUnknown(id) || library_.IsUnused(id) || user_defined)
      continue;
    least = std::min(least, library_.GetScore(id));
    most = std::max(most, library_.GetScore(id));
  }
  unigram_->set_least(least);
  for (int id = 0; id < library_.GetPieceSize(); ++id) {
    if (library_.IsControl(id) || library_.IsUnknown(id) || library_.IsUnused(id)) continue;
    const std::string& piece = library_.IdToPiece(id);
    // As the library prefers what its user defined.
    const double score = summary.user_defined.contains(static_cast<std::size_t>(id))
                             ? static_cast<double>(piece.size()) * double{most} - 0.1
                             : double{library_.GetScore(id)};
    unigram_->add(piece, id, score);
  }
}

std::vector<int> SentencePieceTokenizer::ids_of(const Library& library,
                                                const std::string& text) const {
  std::vector<int> ids;
  if (!unigram_) {
    check(library.Encode(text, &ids), "SentencePiece cannot encode the text");
    return ids;
  }
  std::vector<std::string> pieces;
  check(library.Encode(text, &pieces), "SentencePiece cannot encode the text");
  std::string normalized;
  for (const std::string& piece : pieces) normalized += piece;
  for (const Unigram::Part& part : unigram_->cut(normalized, true))
    ids.push_back(part.id >= 0 ? part.id : *roles_.unknown);
  return ids;
}

// A stand-in before the text keeps the library from dropping the space that it begins with.
std::vector<int> SentencePieceTokenizer::section(std::string_view text, bool first) const {
  if (options_.legacy) return ids_of(library_, std::string(text));
  const std::string spaced = (first ? " " : "") + with_spaces(std::string(text), kSign);
  if (!spaced.starts_with(' ')) return ids_of(bare_, spaced);
  std::vector<int> ids = ids_of(bare_, library_.IdToPiece(*roles_.unknown) + spaced);
  if (ids.size() >= unknown_length_)
    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(unknown_length_));
  return ids;
}

void SentencePieceTokenizer::encode(std::string_view text, std::vector<TokenId>& ids,
                                    Specials specials) const {
  MOTE_CHECK(text.size() < std::size_t{1} << 31, "a text of ", text.size(),
             " bytes is too long to encode; cut it");
  std::string replaced;
  if (valid_utf8_prefix(text) < text.size()) text = replaced = replace_invalid_utf8(text);
  for (std::size_t at = 0; at < text.size();) {
    const auto match = added_.find(text, at, specials == Specials::recognised);
    if (at == 0 && match.begin == text.size()) {
      const std::vector<int> all = ids_of(library_, std::string(text));
      ids.insert(ids.end(), all.begin(), all.end());
      return;
    }
    if (match.begin > at) {
      const std::vector<int> part = section(text.substr(at, match.begin - at), at == 0);
      ids.insert(ids.end(), part.begin(), part.end());
    }
    if (match.end > match.begin) ids.push_back(match.id);
    at = match.end;
  }
}

// The most bytes that the library takes as one sentence; it leaves longer ones out without a word.
constexpr std::size_t kMostSentenceBytes = 16384;

// The documents' lines, one after another; long ones in parts, cut at a space where there is one. A
// byte that is no UTF-8 becomes three.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const Corpus& corpus) : documents_(corpus.documents()) { find(); }
  bool done() const override { return document_ == documents_.size(); }
  void Next() override { find(); }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void find() {
    for (; document_ < documents_.size(); ++document_, at_ = 0) {
      const std::string_view text = documents_[document_];
      while (at_ < text.size()) {
        const std::string_view part = part_of_line(text.substr(at_));
        line_ = replace_invalid_utf8(part);
        at_ += part.size();
        if (at_ < text.size() && text[at_] == '\n') ++at_;
        std::erase(line_, '\0');
        if (!line_.empty()) return;
      }
    }
  }
  // The first line, or as much of it as may be a sentence.
  static std::string_view part_of_line(std::string_view text) {
    constexpr std::size_t kMost = kMostSentenceBytes / 4;
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.size() <= kMost) return line;
    const std::size_t space = line.rfind(' ', kMost);
    if (space != std::string_view::npos && space > 0) return line.substr(0, space);
    std::size_t end = kMost;
    while (end > kMost - 4 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
    return line.substr(0, end);
  }

  const std::vector<std::string_view>& documents_;
  std::size_t document_ = 0, at_ = 0;
  std::string line_;
};

bool has_visible(const Corpus& corpus) {
  for (std::string_view text : corpus.documents())
    while (!text.empty()) {
      const Utf8Sequence next = first_sequence(text);
      if (next.kind == Utf8Sequence::Kind::character && is_visible(first_code_point(text)))
        return true;
      text.remove_prefix(next.length);
    }
  return false;
}

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(std::string model,
                                                        SentencePieceOptions options,
                                                        const std::string& file) {
  try {
    return std::make_unique<SentencePieceTokenizer>(model, std::move(options));
  } catch (const Error& error) {
    throw Error(ErrorKind::file, concat(file, ": ", error.what())).in(file);
  }
}

std::unique_ptr<Tokenizer> train_unigram(const Corpus& corpus, int vocab_size, int extra_ids) {
  const int pieces = vocab_size - extra_ids;
  MOTE_CHECK(pieces > 3, "vocab_size is ", vocab_size, " and ", extra_ids,
             " of it are sentinels; ask for more tokens");
  // The library ends the process where no character is left to learn.
  MOTE_CHECK(has_visible(corpus),
             "the text to learn a tokenizer from has no letter, digit or sign");
  Lines lines(corpus);
  std::string model;
  const sentencepiece::util::Status status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "unigram"},
       {"vocab_size", std::to_string(pieces)},
       {"hard_vocab_limit", "false"},
       {"character_coverage", "0.9995"},
       {"normalization_rule_name", "nmt_nfkc"},
       {"pad_id", "0"},
       {"eos_id", "1"},
       {"unk_id", "2"},
       {"bos_id", "-1"},
       {"num_threads", "1"},
       {"max_sentence_length", std::to_string(kMostSentenceBytes)},
       {"input_sentence_size", "1000000"},
       {"shuffle_input_sentence", "false"},
       {"minloglevel", "2"}},
      &lines, &model);
  check(status, "SentencePiece cannot learn a tokenizer from this corpus");
  SentencePieceOptions options;
  options.extra_ids = extra_ids;
  options.add_end = true;
  options.files = {{"spiece.model", model}};
  return make_sentencepiece_tokenizer(model, std::move(options), "the learned model");
}

}  // namespace mote::text
