#include "text/program_output.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "base/check.h"
#include "base/process.h"

namespace mote::text {
namespace {

[[noreturn]] void fail(const std::string& program, const std::string& problem) {
  throw Error(ErrorKind::system, concat("cannot run ", program, ": ", problem));
}

// An end of a pipe.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { close_now(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  void close_now() {
    if (value_ >= 0) close(value_);
    value_ = -1;
  }

 private:
  int value_;
};

class SpawnActions {
 public:
  SpawnActions() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// Everything until the writer closes; false if reading fails.
bool read_all(int descriptor, std::string& text) {
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t got = read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

std::string program_output(const std::vector<std::string>& command) {
  const std::string& program = command.front();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail(program, std::strerror(errno));
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);

  SpawnActions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(actions.get(), writer.get(), STDOUT_FILENO);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int refused =
      posix_spawnp(&child, program.c_str(), actions.get(), nullptr, arguments.data(), environ);
  if (refused != 0) fail(program, std::strerror(refused));
  writer.close_now();  // so that reading ends when the child's copy closes

  std::string text;
  const bool complete = read_all(reader.get(), text);
  const int status = wait_for(child);
  stop_if_interrupted();  // a terminal's Ctrl-C ends both
  if (!complete) fail(program, "its output cannot be read");
  if (WIFSIGNALED(status)) fail(program, concat("it was ended by signal ", WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0) fail(program, concat("it ended with status ", WEXITSTATUS(status)));
  return text;
}

bool program_exists(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access((std::filesystem::path(folder) / name).c_str(), X_OK) == 0) return true;
  return false;
}

}  // namespace mote::text
