#include "base/file.h"

#include <fcntl.h>
#include <poll.h>
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
#include "base/file_lock.h"
#include "base/process.h"

namespace mote {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr const char* kTemporary = ".tmp-";  // .NAME.tmp-PID
constexpr const char* kLock = ".lock";       // .NAME.lock

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

fs::path lock_beside(const fs::path& path) {
  return path.parent_path() / ("." + path.filename().string() + kLock);
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

// NAME of the temporary or lock `.NAME.tmp-PID` or `.NAME.lock`; empty for another name.
std::string owner_of(const std::string& name) {
  if (!name.starts_with('.')) return "";
  std::size_t end = name.rfind(kTemporary);
  if (end != std::string::npos) {
    const std::size_t number = end + std::strlen(kTemporary);
    if (number == name.size() || name.find_first_not_of("0123456789", number) != std::string::npos)
      end = std::string::npos;
  } else if (name.ends_with(kLock)) {
    end = name.size() - std::strlen(kLock);
  }
  return end == std::string::npos || end == 0 ? "" : name.substr(1, end - 1);
}

// Waits for a pipe or a terminal to have something to say.
void wait_readable(int descriptor) {
  pollfd poll_for{descriptor, POLLIN, 0};
  int ready = 0;
  do {
    stop_if_interrupted();
    ready = poll(&poll_for, 1, 100);
  } while (ready == 0 || (ready < 0 && errno == EINTR));
}

// Closes it at the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }

 private:
  int number_;
};

}  // namespace

// Without O_NONBLOCK a pipe that nobody writes to would hold up its opening. Plain files are read
// whether or not someone interrupts: what is saved then reads some.
std::string read_file(const fs::path& path, std::uint64_t most_bytes) {
  const Descriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (descriptor.get() < 0 || fstat(descriptor.get(), &info) != 0) throw_system("open", path);
  std::string text;
  while (text.size() <= most_bytes) {
    if (!S_ISREG(info.st_mode)) wait_readable(descriptor.get());
    const std::size_t before = text.size();
    text.resize(before + kBufferBytes);
    const ssize_t count = ::read(descriptor.get(), text.data() + before, kBufferBytes);
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count == 0) return text;
    if (count < 0 && errno != EINTR && errno != EAGAIN) throw_system("read", path);
  }
  throw Error(ErrorKind::file, concat(path.string(), ": has more than ", most_bytes,
                                      " bytes, the most that is read of such a file; is it the "
                                      "one that was meant?"))
      .in(path.string());
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  const int descriptor = file.get();
  if (descriptor < 0) throw_system("open", path);
  struct stat info {};
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode))
    throw Error(ErrorKind::system, concat("cannot map ", path.string(),
                                          ": it is not a regular file; save it as one first"))
        .in(path.string());
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ > 0) {
    void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) throw_system("map", path);
    data_ = static_cast<const std::byte*>(mapped);
    replace_mapping(nullptr, this);
  }
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

fs::path followed(const fs::path& path) {
  std::error_code error;
  // Links above the last part are resolved, so that ".." behind one is the folder above its target.
  const auto resolved = [&](const fs::path& some) {
    const fs::path whole = fs::weakly_canonical(fs::absolute(some), error);
    if (error) errno = error.value(), throw_system("follow", path);
    return whole.has_filename() ? whole : whole.parent_path();
  };
  fs::path whole = resolved(path);
  for (int links = 0; fs::is_symlink(whole, error); ++links) {
    if (links == 40) errno = ELOOP, throw_system("follow", path);
    whole = resolved(whole.parent_path() / fs::read_symlink(whole, error));
  }
  return whole;
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
    : path_(followed(path)), temporary_(temporary_beside(path_)) {
  check_folder_is_free(path_);
  std::error_code ignored;
  for (fs::path above = path_.parent_path(); !fs::exists(above, ignored);
       above = above.parent_path())
    made_above_.push_back(above);
  try {
    create_folder(path_.parent_path());
    lock_ = std::make_unique<FileLock>(lock_beside(path_), path_);
    // Again: another process may have ended while this one came for the lock.
    check_folder_is_free(path_);
    remove_leftovers(path_.parent_path(),
                     [&](const std::string& name) { return name == path_.filename().string(); });
    create_folder(temporary_);
  } catch (...) {
    drop();
    throw;
  }
}

StagedFolder::~StagedFolder() {
  if (!committed_) drop();
}

void StagedFolder::drop() {
  std::error_code ignored;
  if (lock_) fs::remove_all(temporary_, ignored);
  lock_.reset();
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
  lock_.reset();
}

void remove_leftovers(const fs::path& folder,
                      const std::function<bool(const std::string& name)>& is_ours) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string(), owner = owner_of(name);
    if (!owner.empty() && is_ours(owner)) found.push_back(entry.path());
  }
  for (const fs::path& path : found)
    if (path.filename().string().ends_with(kLock))
      FileLock::remove_if_free(path);
    else
      fs::remove_all(path, error);
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
