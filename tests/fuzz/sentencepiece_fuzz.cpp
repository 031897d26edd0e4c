// Any bytes as SentencePiece's model: refused with an Error, or a tokenizer that encodes every text.
#include <cstdlib>

#include "base/check.h"
#include "text/sentencepiece.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mote::text;
  const std::string model(reinterpret_cast<const char*>(data), size);
  try {
    SentencePieceOptions options;
    options.extra_ids = 2;
    const auto tokenizer = make_sentencepiece_tokenizer(model, options, "fuzzed");
    const std::string text =
        "a  cat <extra_id_1> \xEF\xBC\xA1\xC3\xA9\xFF the" + model.substr(0, 64);
    const auto ids = tokenizer->encode(text, Specials::recognised);
    for (const TokenId id : ids)
      if (id < 0 || id >= tokenizer->vocab_size()) std::abort();
    const std::string back = replace_invalid_utf8(tokenizer->decode(ids), true);
    if (valid_utf8_prefix(back) != back.size()) std::abort();
  } catch (const mote::Error&) {
  }
  return 0;
}
