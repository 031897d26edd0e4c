// Any bytes as a GGUF file: refused with an Error, or every key and tensor lies inside them, every
// getter answers or refuses, and every block has a value.
#include <cstdlib>

#include "checkpoint/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mote::checkpoint;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto check_inside = [&](std::span<const std::byte> part) {
    if (part.data() < bytes.data() || part.data() + part.size() > bytes.data() + size) std::abort();
  };
  const auto ask = [](const auto& get) {
    try {
      get();
    } catch (const mote::Error&) {
    }
  };
  try {
    const Gguf contents = parse_gguf(bytes, "fuzzed");
    for (const auto& [key, value] : contents.keys.all()) {
      check_inside(value.bytes);
      ask([&, &k = key] { contents.keys.boolean(k); });
      ask([&, &k = key] { contents.keys.integer(k); });
      ask([&, &k = key] { contents.keys.number(k); });
      ask([&, &k = key] { contents.keys.text(k); });
      ask([&, &k = key] { contents.keys.integers(k); });
      ask([&, &k = key] { contents.keys.numbers(k); });
      ask([&, &k = key] {
        for (const std::string_view text : contents.keys.texts(k))
          check_inside(std::as_bytes(std::span(text)));
      });
    }
    for (const auto& [name, tensor] : contents.tensors) {
      check_inside(tensor.bytes);
      if (tensor.floats().size() != static_cast<std::size_t>(tensor.num_elements())) std::abort();
    }
  } catch (const mote::Error&) {
  }
  return 0;
}
