#include "base/process.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/cgroup.h"
#include "base/check.h"

namespace mote {
namespace {

volatile std::sig_atomic_t interrupt_count = 0;
std::atomic<void (*)()> interrupt_end = nullptr;

// A terminal that closes may say so twice, by itself and by its shell: only the others insist.
extern "C" void count_interrupt(int signal) {
  if (void (*end)() = interrupt_end) end();
  if (interrupt_count > 0 && signal != SIGHUP) _exit(130);
  interrupt_count = 1;
}

// Of a file of lines `key: value kB`; 0 where it is not there.
std::uint64_t bytes_of(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key + ":"))
      return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  return 0;
}

struct OwnMemory {
  std::uint64_t mapped = 0, resident = 0;  // bytes
};

OwnMemory own_memory() {
  std::uint64_t mapped = 0, resident = 0;  // pages
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return {mapped * page, resident * page};
}

}  // namespace

std::uint64_t peak_rss_bytes() {
  // Not getrusage(), whose peak begins with that of the process which started this one.
  return bytes_of("/proc/self/status", "VmHWM");
}

void reset_peak_rss() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

std::uint64_t rss_bytes() {
  return own_memory().resident;
}

std::uint64_t memory_bytes() {
  return bytes_of("/proc/meminfo", "MemTotal");
}

std::uint64_t available_memory_bytes() {
  auto least = static_cast<double>(bytes_of("/proc/meminfo", "MemAvailable"));
  least = std::min(least, cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup"));
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    least = std::min(least, std::max(0.0, static_cast<double>(limit.rlim_cur) -
                                              static_cast<double>(own_memory().mapped)));
  return static_cast<std::uint64_t>(least);
}

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void return_freed_memory() {
  malloc_trim(0);
}

void fill_standard_streams() {
  int descriptor = open("/dev/null", O_RDONLY);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO) descriptor = open("/dev/null", O_RDONLY);
  if (descriptor > STDERR_FILENO) close(descriptor);
}

void catch_interrupts() {
  std::signal(SIGINT, count_interrupt);
  std::signal(SIGTERM, count_interrupt);
  // What nohup started outlives its terminal.
  if (std::signal(SIGHUP, count_interrupt) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

void on_interrupt(void (*end)()) {
  interrupt_end = end;
}

bool interrupted() {
  return interrupt_count > 0;
}

void stop_if_interrupted() {
  if (interrupted()) throw Error(ErrorKind::interrupted, "interrupted");
}

}  // namespace mote
