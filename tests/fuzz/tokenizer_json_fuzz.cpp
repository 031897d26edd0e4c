// Any bytes as tokenizer.json: refused with an Error, or a tokenizer that gives back every text it
// encodes.
#include <cstdlib>

#include "base/check.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mote::text;
  const std::string json(reinterpret_cast<const char*>(data), size);
  const std::string text = "It's  12 na\xC3\xAFve\n\n words \xFF\xE2\x82" + json.substr(0, 64);
  try {
    const auto tokenizer = make_bpe_tokenizer(parse_tokenizer_json(json, "fuzzed"));
    if (tokenizer->decode(tokenizer->encode(text)) != text) std::abort();
    if (!tokenizer->bytes(tokenizer->end_of_text()).empty()) std::abort();
  } catch (const mote::Error&) {
  }
  return 0;
}
