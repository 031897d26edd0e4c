#include "base/large_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace mote {

void use_large_pages(std::span<const std::byte> mapped) {
  if (!mapped.empty()) madvise(const_cast<std::byte*>(mapped.data()), mapped.size(), MADV_HUGEPAGE);
}

void forget_cached(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

}  // namespace mote
