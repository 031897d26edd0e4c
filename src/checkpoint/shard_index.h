// The index of a model in several files, as Hugging Face writes it:
//   {"metadata": {"total_size": bytes, ...}, "weight_map": {tensor: file}}
#pragma once

#include <map>
#include <string>

namespace mote::checkpoint {

// The weight map. Refuses a map that is missing or empty, and files that are not of the index's own
// folder. `path` is used in messages only.
std::map<std::string, std::string> parse_shard_index(const std::string& text,
                                                     const std::string& path);

}  // namespace mote::checkpoint
