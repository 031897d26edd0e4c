// Files: read whole, map, and write so that a reader sees the old bytes or the new ones and never a
// part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mote {

namespace fs = std::filesystem;

class FileLock;

// The largest file that is read as settings, and the most keys that one table of it may have: far
// above any that is meant, and read within a moment.
constexpr std::uint64_t kMostSettingsBytes = 16'000'000;
constexpr std::size_t kMostSettingsKeys = 10'000;

// Refuses what holds more than `most_bytes`. Waits for a pipe's writer, and stops when interrupted.
std::string read_file(const fs::path& path, std::uint64_t most_bytes = std::uint64_t{1} << 32);

// A regular file mapped read-only. Throws Error if it cannot be opened; an empty file maps to an
// empty span.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// From now on reading a mapped file that has become shorter, or whose disk fails, calls `end` with
// its path; else the system ends the process without a word. `end` must not return.
void on_lost_file(void (*end)(const char* path));

// A file being written under a temporary name beside its own; commit() syncs and renames it, the
// destructor removes what was not committed. Every refusal of the system (disk full, ...) is an
// Error naming the file.
class FileWriter {
 public:
  explicit FileWriter(fs::path path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(const std::string& text) { write(std::as_bytes(std::span(text))); }
  void pad_to(std::size_t alignment);
  std::uint64_t position() const { return position_; }
  void commit();

 private:
  void flush();

  fs::path path_, temporary_;
  int descriptor_ = -1;
  std::uint64_t position_ = 0;
  std::string buffer_;
};

void write_file(const fs::path& path, const std::string& text);

// Makes `to` another name of the file `from` (a hard link), or a copy where the file system has
// none; a file that has that name is replaced by a rename.
void link_or_copy_file(const fs::path& from, const fs::path& to);

// Makes a folder and those above it, unless it is there.
void create_folder(const fs::path& path);

// A folder filled under a temporary name beside its own; commit() renames it into place. Nothing is
// left behind when it is dropped; what a killed process left of the same target is removed. A link
// is followed: the folder appears where it points. The final path must not exist, or be an empty
// folder, and one process at a time writes it.
class StagedFolder {
 public:
  explicit StagedFolder(const fs::path& path);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  const fs::path& path() const { return temporary_; }
  void commit();

 private:
  void drop();

  fs::path path_, temporary_;
  std::vector<fs::path> made_above_;  // folders that were not there, the deepest first
  std::unique_ptr<FileLock> lock_;
  bool committed_ = false;
};

// Where a path leads: absolute, without "." and a slash at the end, and through the links that its
// last part may be, whether or not anything is there.
fs::path followed(const fs::path& path);

// Throws unless `path` does not exist or is an empty folder.
void check_folder_is_free(const fs::path& path);

// Removes what killed processes left of writing files and folders beside them: temporaries and
// locks of the names that `is_ours` knows. Only for names that no other process writes.
void remove_leftovers(const fs::path& folder,
                      const std::function<bool(const std::string& name)>& is_ours);

// Bytes of all plain files below a folder, or of one file.
std::uint64_t bytes_on_disk(const fs::path& path);

// "1.5 MB", decimal units.
std::string format_bytes(double bytes);

}  // namespace mote
