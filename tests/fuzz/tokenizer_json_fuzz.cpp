// Any bytes as tokenizer.json: refused with an Error, or a tokenizer that encodes every text, gives it
// back if it says so, and streams no broken character.
#include <cstdlib>

#include "base/check.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mote::text;
  const std::string json(reinterpret_cast<const char*>(data), size);
  const std::string text =
      "It's  12 na\xC3\xAFve e\xCC\x81\n\n words \xFF\xE2\x82" + json.substr(0, 64);
  try {
    const auto tokenizer = make_tokenizer(parse_tokenizer_json(json, "fuzzed"));
    const auto ids = tokenizer->encode(text);
    if (tokenizer->lossless() && tokenizer->decode(ids) != text) std::abort();
    if (!tokenizer->bytes(tokenizer->end_of_text()).empty()) std::abort();
    StreamDecoder decoder(*tokenizer);
    for (const TokenId id : tokenizer->encode_alone(text, Specials::recognised)) {
      const std::string part = decoder.push(id);
      if (valid_utf8_prefix(part) != part.size()) std::abort();
    }
    if (const std::string rest = decoder.finish(); valid_utf8_prefix(rest) != rest.size())
      std::abort();
  } catch (const mote::Error&) {
  }
  return 0;
}
