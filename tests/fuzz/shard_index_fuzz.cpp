// Any bytes as the index of a model's shards: refused with an Error, or every file is one of the
// index's own folder.
#include <cstdlib>

#include "base/check.h"
#include "base/file.h"
#include "checkpoint/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    for (const auto& [tensor, file] : mote::checkpoint::parse_shard_index(text, "fuzzed")) {
      const mote::fs::path path = mote::fs::path("folder") / file;
      const bool plain = file.find('\0') == file.npos && file != "." && file != "..";
      if (!plain || path.lexically_normal().parent_path() != "folder") std::abort();
    }
  } catch (const mote::Error&) {
  }
  return 0;
}
