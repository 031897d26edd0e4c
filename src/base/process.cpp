#include "base/process.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "base/check.h"

namespace mote {
namespace {

volatile std::sig_atomic_t interrupt_count = 0;
std::atomic<void (*)()> interrupt_end = nullptr;

extern "C" void count_interrupt(int) {
  if (void (*end)() = interrupt_end) end();
  interrupt_count = interrupt_count + 1;
  if (interrupt_count > 1) _exit(130);
}

std::uint64_t memory_info(const char* wanted) {
  std::ifstream info("/proc/meminfo");
  std::string key;
  std::uint64_t kilobytes = 0;
  while (info >> key >> kilobytes) {
    if (key == wanted) return kilobytes * 1024;
    info.ignore(64, '\n');
  }
  return 0;
}

}  // namespace

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::uint64_t rss_bytes() {
  std::uint64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::uint64_t memory_bytes() {
  return memory_info("MemTotal:");
}

std::uint64_t available_memory_bytes() {
  return memory_info("MemAvailable:");
}

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void fill_standard_streams() {
  int descriptor = open("/dev/null", O_RDONLY);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO) descriptor = open("/dev/null", O_RDONLY);
  if (descriptor > STDERR_FILENO) close(descriptor);
}

void catch_interrupts() {
  std::signal(SIGINT, count_interrupt);
  std::signal(SIGTERM, count_interrupt);
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
