// Any bytes as a file of torch.save: refused with an Error, or every tensor lies in them or in the
// copies, which are no more than they are. The first byte chooses what the rest is: a file, or a
// pickle that is put into an archive with one storage, for which a fuzzer would never find the
// checksum.
#include <cstdlib>

#include "checkpoint/torch_pickle.h"
#include "tests/support/pickles.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mote::checkpoint;
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'p')
    file = mote::test::pickles::zip({{"m/data.pkl", file}, {"m/data/0", std::string(64, 'x')}});
  const std::span bytes = std::as_bytes(std::span(file));
  try {
    const TorchPickle contents = parse_torch_pickle(bytes, "fuzzed");
    std::size_t copied = 0;
    for (const auto& copy : contents.copies) copied += copy.size();
    if (copied > bytes.size()) std::abort();
    for (const auto& [name, tensor] : contents.tensors) {
      const auto inside = [&, &t = tensor](std::span<const std::byte> whole) {
        return t.bytes.data() >= whole.data() &&
               t.bytes.data() + t.bytes.size() <= whole.data() + whole.size();
      };
      bool found = tensor.bytes.empty() || inside(bytes);
      for (const auto& copy : contents.copies) found = found || inside(copy);
      if (!found) std::abort();
      unsigned sum = 0;
      for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
      volatile unsigned read = sum;
      static_cast<void>(read);
    }
  } catch (const mote::Error&) {
  }
  return 0;
}
