// Mapped files in pages of 2 MB instead of 4 KB, where the system can: reading all of a model for each
// token then looks up 500 times fewer pages.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace mote {

// Asks for them, for a mapping of which all is read again and again. Granted for what is not in the
// system's cache yet.
void use_large_pages(std::span<const std::byte> mapped);

// Takes a file out of the system's cache, so that it comes back in large pages.
void forget_cached(const std::filesystem::path& path);

}  // namespace mote
