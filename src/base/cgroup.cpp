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

}  // namespace

double cgroup_cpus(const fs::path& membership, const fs::path& root) {
  double least = kNone;
  std::ifstream lines(membership);
  // "0::/path" (version 2) or "4:cpu,cpuacct:/path".
  for (std::string line; std::getline(lines, line);) {
    std::istringstream parts(line);
    std::string number, controllers, path;
    std::getline(parts, number, ':');
    std::getline(parts, controllers, ':');
    std::getline(parts, path);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos)
      continue;
    const fs::path mount = controllers.empty() ? root : root / controllers;
    // In a container the path may be that of the host; the mount then shows the group itself.
    for (fs::path inside = fs::path(path).relative_path();; inside = inside.parent_path()) {
      least = std::min({least, quota_of(mount / inside), quota_of(root / "cpu" / inside)});
      if (inside.empty()) break;
    }
  }
  return least;
}

}  // namespace mote
