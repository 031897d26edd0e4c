// A tokenizer learned from the first part of any bytes, as the first byte says, encodes the rest
// and gives it back; so does the tokenizer read from its file, with the same ids; and decoding
// token by token says the same as decoding the whole.
#include <cstdlib>

#include "text/bpe_train.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace {

using namespace mote::text;

TokenizerModel learn(std::string_view text) {
  TokenizerModel model = byte_model();
  model.merges =
      learn_merges(count_pieces({text}, 1), static_cast<TokenId>(model.tokens.size()), 64);
  for (const Merge& merge : model.merges)
    model.tokens.push_back({model.tokens[static_cast<std::size_t>(merge.left)].bytes +
                            model.tokens[static_cast<std::size_t>(merge.right)].bytes});
  return model;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const TokenId id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::size_t cut = all.size() * data[0] / 255;
  const TokenizerModel model = learn(all.substr(0, cut));
  const std::string text(all.substr(cut));
  const auto learned = make_tokenizer(model);
  const std::vector<TokenId> ids = learned->encode(text);
  if (learned->decode(ids) != text) std::abort();
  if (streamed(*learned, ids) != replace_invalid_utf8(text)) std::abort();
  const auto read = make_tokenizer(parse_tokenizer_json(to_tokenizer_json(model), "written"));
  if (read->encode(text) != ids) std::abort();
  return 0;
}
