// Any bytes as a safetensors file: refused with an Error, or every tensor lies inside them.
#include <cstdlib>

#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mote::checkpoint;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    for (const auto& [name, tensor] : parse_safetensors(bytes, "fuzzed").tensors) {
      const bool inside = tensor.bytes.data() >= bytes.data() &&
                          tensor.bytes.data() + tensor.bytes.size() <= bytes.data() + size;
      if (!inside) std::abort();
    }
  } catch (const mote::Error&) {
  }
  return 0;
}
