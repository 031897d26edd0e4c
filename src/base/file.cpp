#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>

#include "base/check.h"

namespace mote {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr const char* kTemporary = ".tmp-";  // .NAME.tmp-PID

[[noreturn]] void throw_system(const char* doing, const fs::path& path) {
  const int code = errno;
  std::string advice;
  if (code == ENOSPC || code == EDQUOT) advice = "; free some space or choose another folder";
  throw Error(ErrorKind::system,
              concat("cannot ", doing, " ", path.string(), ": ", std::strerror(code), advice))
      .in(path.string());
}

void sync_folder(const fs::path& folder) {
  const int descriptor =
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // some file systems refuse; the rename itself has happened
  fsync(descriptor);
  close(descriptor);
}

fs::path temporary_beside(const fs::path& path) {
  return path.parent_path() /
         ("." + path.filename().string() + kTemporary + std::to_string(getpid()));
}

// Without "." and a slash at the end, so that it has a name and a folder that it is in.
fs::path plain(const fs::path& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  return whole.filename().empty() ? whole.parent_path() : whole;
}

// Every mapping that there is room for, for a signal handler to look through.
std::array<std::atomic<const MappedFile*>, 4096> mappings;
std::atomic<void (*)(const char*)> lost_file_end = nullptr;

void replace_mapping(const MappedFile* old, const MappedFile* by) {
  for (auto& slot : mappings)
    if (const MappedFile* expected = old; slot.compare_exchange_strong(expected, by)) return;
}

// The faults of our own reads, which come at no other place than a read: what a handler may not
// call elsewhere, it may here.
extern "C" void on_bus_error(int signal, siginfo_t* info, void*) {
  static std::atomic_flag ending;
  const auto* at = static_cast<const std::byte*>(info->si_addr);
  for (const auto& slot : mappings) {
    const MappedFile* file = slot;
    if (!file || at < file->bytes().data() || at >= file->bytes().data() + file->bytes().size())
      continue;
    while (ending.test_and_set()) pause();  // another thread ends the process
    lost_file_end.load()(file->path().c_str());
  }
  std::signal(signal, SIG_DFL);  // our own mistake
}

}  // namespace

std::string read_file(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_system("open", path);
  std::string text;
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + kBufferBytes);
    const ssize_t count = ::read(descriptor, text.data() + before, kBufferBytes);
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count > 0 || (count < 0 && errno == EINTR)) continue;
    const int code = errno;
    close(descriptor);
    if (count == 0) return text;
    errno = code;
    throw_system("read", path);
  }
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_system("open", path);
  struct stat info {};
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(descriptor);
    throw Error(ErrorKind::system, concat("cannot map ", path.string(),
                                          ": it is not a regular file; save it as one first"))
        .in(path.string());
  }
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ > 0) {
    void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) {
      close(descriptor);
      throw_system("map", path);
    }
    data_ = static_cast<const std::byte*>(mapped);
    replace_mapping(nullptr, this);
  }
  close(descriptor);
}

MappedFile::~MappedFile() {
  if (!data_) return;
  replace_mapping(this, nullptr);
  munmap(const_cast<std::byte*>(data_), size_);
}

void on_lost_file(void (*end)(const char* path)) {
  lost_file_end = end;
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

FileWriter::FileWriter(fs::path path)
    : path_(std::move(path)), temporary_(temporary_beside(path_)) {
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_system("write", path_);
  buffer_.reserve(kBufferBytes);
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void FileWriter::write(std::span<const std::byte> bytes) {
  position_ += bytes.size();
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), kBufferBytes - buffer_.size());
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), part);
    bytes = bytes.subspan(part);
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void FileWriter::pad_to(std::size_t alignment) {
  const std::size_t over = position_ % alignment;
  if (over != 0) write(std::string(alignment - over, '\0'));
}

void FileWriter::flush() {
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_system("write", path_);
    }
    done += static_cast<std::size_t>(written);
  }
  buffer_.clear();
}

void FileWriter::commit() {
  flush();
  if (fsync(descriptor_) != 0) throw_system("sync", path_);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (close(descriptor) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    unlink(temporary_.c_str());
    errno = code;
    throw_system("write", path_);
  }
  sync_folder(path_.parent_path());
}

void write_file(const fs::path& path, const std::string& text) {
  FileWriter writer(path);
  writer.write(text);
  writer.commit();
}

void link_or_copy_file(const fs::path& from, const fs::path& to) {
  const fs::path temporary = temporary_beside(to);
  unlink(temporary.c_str());
  if (link(from.c_str(), temporary.c_str()) != 0) {
    const MappedFile source(from);
    FileWriter copy(to);
    copy.write(source.bytes());
    copy.commit();
    return;
  }
  if (rename(temporary.c_str(), to.c_str()) != 0) {
    const int code = errno;
    unlink(temporary.c_str());
    errno = code;
    throw_system("write", to);
  }
  unlink(temporary.c_str());  // rename does nothing where both are names of one file
  sync_folder(to.parent_path());
}

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) errno = error.value(), throw_system("create", path);
}

void check_folder_is_free(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  if (!fs::is_directory(path, ignored))
    throw Error(ErrorKind::system,
                path.string() + " exists and is not a folder; choose another output")
        .in(path.string());
  if (!fs::is_empty(path, ignored))
    throw Error(ErrorKind::system, path.string() + " is not empty; choose a new folder")
        .in(path.string());
}

StagedFolder::StagedFolder(const fs::path& path)
    : path_(plain(path)), temporary_(temporary_beside(path_)) {
  check_folder_is_free(path_);
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  for (fs::path above = path_.parent_path(); !fs::exists(above, ignored);
       above = above.parent_path())
    made_above_.push_back(above);
  create_folder(temporary_);
}

StagedFolder::~StagedFolder() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  for (const fs::path& above : made_above_) fs::remove(above, ignored);  // where empty
}

void StagedFolder::commit() {
  check_folder_is_free(path_);
  std::error_code error;
  fs::remove(path_, error);  // an empty folder, or nothing
  fs::rename(temporary_, path_, error);
  if (error) errno = error.value(), throw_system("create", path_);
  committed_ = true;
  sync_folder(path_.parent_path());
}

void remove_leftovers(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const std::size_t mark = name.rfind(kTemporary);
    const bool numbered =
        mark != std::string::npos &&
        name.find_first_not_of("0123456789", mark + std::strlen(kTemporary)) == std::string::npos;
    if (name.starts_with('.') && numbered) fs::remove_all(entry.path(), error);
  }
}

std::uint64_t bytes_on_disk(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return fs::file_size(path, error);
  std::uint64_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path, error))
    if (entry.is_regular_file(error)) total += entry.file_size(error);
  return total;
}

std::string format_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) bytes /= 1000, ++unit;
  std::ostringstream text;
  text.precision(unit == 0 ? 0 : bytes < 10 ? 2 : bytes < 100 ? 1 : 0);
  text << std::fixed << bytes << " " << units[unit];
  return text.str();
}

}  // namespace mote
