#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "base/check.h"
#include "base/log.h"

namespace mote {
namespace {

namespace fs = std::filesystem;

std::string this_process() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  std::array<char, 64> since{};
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::strftime(since.data(), since.size(), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &parts));
  return concat("process ", getpid(), " on ", host.data(), " since ", since.data());
}

std::string text_in(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t count = pread(descriptor, text.data(), text.size(), 0);
  return count > 0 ? std::string(text.data(), static_cast<std::size_t>(count)) : "another process";
}

// Whether the file still has its name: whoever held it before removes it at the end.
bool is_at(int descriptor, const fs::path& file) {
  struct stat open {
  }, named{};
  return fstat(descriptor, &open) == 0 && stat(file.c_str(), &named) == 0 &&
         open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

}  // namespace

FileLock::FileLock(const fs::path& file, const fs::path& target) : file_(file) {
  for (;;) {
    descriptor_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0)
      throw Error(ErrorKind::system, concat("cannot write ", target.string(), ": ", file.string(),
                                            ": ", std::strerror(errno), "; choose another folder"))
          .in(target.string());
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) {
        log::warn(concat(file.string(), ": this file system has no locks (", std::strerror(errno),
                         "); let no second process write ", target.string()));
        break;
      }
      const std::string holder = text_in(descriptor_);
      close(descriptor_);
      throw Error(ErrorKind::system, concat(target.string(), " is being written by ", holder,
                                            "; wait for its end, or choose another folder"))
          .in(target.string());
    }
    if (is_at(descriptor_, file)) break;
    close(descriptor_);
  }
  const std::string text = this_process();
  if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, text.data(), text.size(), 0) < 0)
    log::debug(concat(file.string(), ": ", std::strerror(errno)));  // a lock without its holder
}

FileLock::~FileLock() {
  unlink(file_.c_str());
  close(descriptor_);
}

void FileLock::remove_if_free(const fs::path& file) {
  const int descriptor = open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return;
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0 && is_at(descriptor, file)) unlink(file.c_str());
  close(descriptor);
}

}  // namespace mote
