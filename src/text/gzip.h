// Files compressed by gzip or dictzip.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace mote::text {

// Whether bytes begin as gzip's do.
bool is_gzip(std::span<const std::byte> bytes);

// The decompressed bytes, of all that was compressed if there are several one after the other (zeros
// may follow, as tapes pad files); a file that is not compressed is read as it is. Throws Error when
// it cannot be read, is damaged, is cut short or has something else behind.
std::string read_gzip(const std::filesystem::path& path);

}  // namespace mote::text
