// Memory in pages of 2 MiB: for tables of gigabytes that are read anywhere, where looking up pages of
// 4 KiB would take longer than the reading.
#pragma once

#include <cstddef>

namespace mote {

// Asks for large pages for memory that was not yet written to. A hint: for a few megabytes, or
// where the system has none, nothing changes.
void use_huge_pages(void* begin, std::size_t bytes);

}  // namespace mote
