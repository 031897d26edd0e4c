// A lock on what is being written: a file that one process at a time holds, and that says which.
//
// The system releases it when the process ends, in whatever way; the file that a killed process
// left is taken over. Between machines it works as far as the file system locks.
#pragma once

#include <filesystem>

namespace mote {

class FileLock {
 public:
  // Makes `file`, which guards `target`. Throws when another process holds it, naming that process,
  // its machine and since when.
  FileLock(const std::filesystem::path& file, const std::filesystem::path& target);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // Removes a lock's file that no process holds.
  static void remove_if_free(const std::filesystem::path& file);

 private:
  const std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace mote
