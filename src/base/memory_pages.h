// Which pages memory has, and whether they stay.
#pragma once

#include <cstddef>
#include <filesystem>

namespace mote {

// Asks for pages of 2 MiB for memory that was not yet written to, or a mapped file, of which they are
// granted for what is not in the system's cache: for tables of gigabytes that are read anywhere, and for
// files of models that are read whole for every token, where looking up pages of 4 KiB would take longer
// than the reading. A hint: for a few megabytes, or where the system has none, nothing changes.
void use_huge_pages(const void* begin, std::size_t bytes);

// Of a mapped file, the whole pages in this range leave the process; reading them brings them back.
void forget_pages(const void* begin, std::size_t bytes);

// Takes a file out of the system's cache, so that it comes back in large pages.
void forget_cached(const std::filesystem::path& path);

}  // namespace mote
