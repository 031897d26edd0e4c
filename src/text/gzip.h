// Files compressed by gzip or dictzip.
#pragma once

#include <filesystem>
#include <string>

namespace mote::text {

// The decompressed bytes; a file that is not compressed is read as it is. Throws Error when it
// cannot be read, is damaged or is cut short.
std::string read_gzip(const std::filesystem::path& path);

}  // namespace mote::text
