#include "text/tokenizer.h"

#include "text/utf8.h"

namespace mote::text {

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  encode(text, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) text += bytes(id);
  return text;
}

std::string StreamDecoder::push(TokenId id) {
  pending_ += tokenizer_->bytes(id);
  // Only the last three bytes can begin a character that is not complete; everything before the
  // incomplete end, if there is one, is decided.
  std::size_t decided = pending_.size();
  for (std::size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
    const std::size_t at = pending_.size() - back;
    const Utf8Sequence last = first_sequence(std::string_view(pending_).substr(at));
    if (last.kind == Utf8Sequence::Kind::incomplete && last.length == back) decided = at;
  }
  std::string ready = replace_invalid_utf8(std::string_view(pending_).substr(0, decided));
  pending_.erase(0, decided);
  return ready;
}

std::string StreamDecoder::finish() {
  std::string rest = replace_invalid_utf8(pending_);
  pending_.clear();
  return rest;
}

}  // namespace mote::text
