#include "text/tokenizer.h"

#include "text/utf8.h"

namespace mote::text {

std::string Tokenizer::name(TokenId id) const {
  return std::string(bytes(id));
}
bool Tokenizer::special(TokenId id) const {
  return bytes(id).empty();
}
std::optional<TokenId> Tokenizer::find(std::string_view wanted) const {
  for (TokenId id = 0; id < vocab_size(); ++id)
    if (name(id) == wanted) return id;
  return std::nullopt;
}
const DecodeRules& Tokenizer::decode_rules() const {
  static const DecodeRules rules;
  return rules;
}
const TokenRoles& Tokenizer::roles() const {
  static const TokenRoles none;
  return none;
}
const Around& Tokenizer::around() const {
  static const Around nothing;
  return nothing;
}
const std::vector<std::string>& Tokenizer::warnings() const {
  static const std::vector<std::string> none;
  return none;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, Specials specials) const {
  std::vector<TokenId> ids;
  encode(text, ids, specials);
  return ids;
}

std::vector<TokenId> Tokenizer::encode_alone(std::string_view text, Specials specials) const {
  std::vector<TokenId> ids = around().before;
  encode(text, ids, specials);
  ids.insert(ids.end(), around().after.begin(), around().after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, Specials specials) const {
  StreamDecoder decoder(*this, StreamDecoder::From::start, specials);
  std::string text;
  for (const TokenId id : ids) text += decoder.next(id);
  return text;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, From from, Specials specials)
    : tokenizer_(&tokenizer),
      specials_(specials),
      start_(from == From::start ? tokenizer.decode_rules().start : DecodeRules::Start::whole) {}

std::string StreamDecoder::next(TokenId id) {
  using Start = DecodeRules::Start;
  const bool special = tokenizer_->special(id);
  if (special && specials_ == Specials::as_text) return {};
  std::string bytes = special ? tokenizer_->name(id) : std::string(tokenizer_->bytes(id));
  // The space of the sign for unknown text is its own.
  if (id == tokenizer_->roles().unknown) start_ = Start::whole;
  if (start_ == Start::whole) return bytes;
  if (start_ == Start::first_token_bare)
    std::erase(bytes, ' ');
  else if (bytes.starts_with(' '))
    bytes.erase(0, 1), start_ = start_ == Start::without_space ? Start::whole : start_;
  if (start_ == Start::first_token_bare || !bytes.empty()) start_ = Start::whole;
  return bytes;
}

std::string StreamDecoder::push(TokenId id) {
  pending_ += next(id);
  // Only the last three bytes can begin a character that is not complete; everything before the
  // incomplete end, if there is one, is decided.
  std::size_t decided = pending_.size();
  for (std::size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
    const std::size_t at = pending_.size() - back;
    const Utf8Sequence last = first_sequence(std::string_view(pending_).substr(at));
    if (last.kind == Utf8Sequence::Kind::incomplete && last.length == back) decided = at;
  }
  std::string ready = replace_invalid_utf8(std::string_view(pending_).substr(0, decided),
                                           tokenizer_->decode_rules().each_byte);
  pending_.erase(0, decided);
  return ready;
}

std::string StreamDecoder::finish() {
  std::string rest = replace_invalid_utf8(pending_, tokenizer_->decode_rules().each_byte);
  pending_.clear();
  return rest;
}

}  // namespace mote::text
