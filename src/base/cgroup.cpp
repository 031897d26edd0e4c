#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace mote {
namespace {

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::infinity();

// Version 2: "QUOTA PERIOD" or "max PERIOD" in one file; version 1: two files, quota -1 for none.
double quota_of(const fs::path& group) {
  double quota = 0, period = 0;
  if (std::ifstream both(group / "cpu.max"); both)
    both >> quota >> period;
  else if (std::ifstream(group / "cpu.cfs_quota_us") >> quota)
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? quota / period : kNone;
}

// Version 2: "max" or bytes; version 1: bytes, more than any machine has for none.
double memory_left(const fs::path& group) {
  double limit = 0, used = 0;
  std::error_code ignored;
  const bool second = fs::exists(group / "memory.max", ignored);
  if (!(std::ifstream(group / (second ? "memory.max" : "memory.limit_in_bytes")) >> limit))
    return kNone;
  std::ifstream(group / (second ? "memory.current" : "memory.usage_in_bytes")) >> used;
  std::ifstream statistics(group / "memory.stat");
  std::string key;
  for (double bytes = 0; statistics >> key >> bytes;)
    if (key == (second ? "inactive_file" : "total_inactive_file")) used -= bytes;
  return std::max(0.0, limit - used);
}

// The least of a process's group and those above it.
double least_of_groups(const fs::path& membership, const fs::path& root,
                       const std::string& controller, double (*of)(const fs::path& group)) {
  double least = kNone;
  std::ifstream lines(membership);
  // "0::/path" (version 2) or "4:cpu,cpuacct:/path".
  for (std::string line; std::getline(lines, line);) {
    std::istringstream parts(line);
    std::string number, controllers, path;
    std::getline(parts, number, ':');
    std::getline(parts, controllers, ':');
    std::getline(parts, path);
    if (!controllers.empty() &&
        ("," + controllers + ",").find("," + controller + ",") == std::string::npos)
      continue;
    const fs::path mount = controllers.empty() ? root : root / controllers;
    // In a container the path may be that of the host; the mount then shows the group itself.
    for (fs::path inside = fs::path(path).relative_path();; inside = inside.parent_path()) {
      least = std::min({least, of(mount / inside), of(root / controller / inside)});
      if (inside.empty()) break;
    }
  }
  return least;
}

}  // namespace

double cgroup_cpus(const fs::path& membership, const fs::path& root) {
  return least_of_groups(membership, root, "cpu", quota_of);
}

double cgroup_memory(const fs::path& membership, const fs::path& root) {
  return least_of_groups(membership, root, "memory", memory_left);
}

}  // namespace mote
