// What control groups (containers, systemd units) allow a process.
#pragma once

#include <filesystem>

namespace mote {

// Processors' worth of time: the least quota / period of the process's group and those above it;
// infinity where none is set. `membership` is /proc/self/cgroup, `root` where groups are mounted;
// versions 1 and 2 are read.
double cgroup_cpus(const std::filesystem::path& membership, const std::filesystem::path& root);

// Bytes of memory left to the group and those above it, what the system keeps of files not counted;
// infinity where no limit is set.
double cgroup_memory(const std::filesystem::path& membership, const std::filesystem::path& root);

}  // namespace mote
