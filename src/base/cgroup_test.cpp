#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <cmath>

#include "tests/support/files.h"

namespace mote {
namespace {

class Cgroup : public ::testing::Test {
 protected:
  double cpus(const std::string& membership) {
    return cgroup_cpus(folder_.file("cgroup", membership), folder_.path() / "fs");
  }
  double memory(const std::string& membership) {
    return cgroup_memory(folder_.file("cgroup", membership), folder_.path() / "fs");
  }
  test::TemporaryFolder folder_;
};

TEST_F(Cgroup, HasTheLeastQuotaOfItAndThoseAbove) {
  folder_.file("fs/a/cpu.max", "150000 100000\n");
  folder_.file("fs/a/b/cpu.max", "max 100000\n");
  folder_.file("fs/a/b/c/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpus("0::/a/b/c\n"), 1.5);
  EXPECT_EQ(cpus("0::/elsewhere\n"), INFINITY);
}

TEST_F(Cgroup, IsFoundAtTheMountOfAContainer) {
  folder_.file("fs/cpu.max", "50000 100000\n");
  EXPECT_EQ(cpus("0::/docker/0123\n"), 0.5);
}

TEST_F(Cgroup, OfVersion1IsRead) {
  folder_.file("fs/cpu,cpuacct/job/cpu.cfs_quota_us", "200000\n");
  folder_.file("fs/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  folder_.file("fs/cpu,cpuacct/free/cpu.cfs_quota_us", "-1\n");
  folder_.file("fs/cpu,cpuacct/free/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus("11:memory:/job\n4:cpu,cpuacct:/job\n"), 2);
  EXPECT_EQ(cpus("4:cpu,cpuacct:/free\n"), INFINITY);
}

TEST_F(Cgroup, LeavesWhatIsNeitherUsedNorOfFiles) {
  folder_.file("fs/a/memory.max", "1000000\n");
  folder_.file("fs/a/memory.current", "700000\n");
  folder_.file("fs/a/memory.stat", "anon 100000\ninactive_file 600000\n");
  folder_.file("fs/a/b/memory.max", "max\n");
  EXPECT_EQ(memory("0::/a/b\n"), 900000);
  folder_.file("fs/memory/job/memory.limit_in_bytes", "500000\n");
  folder_.file("fs/memory/job/memory.usage_in_bytes", "600000\n");
  EXPECT_EQ(memory("11:memory:/job\n4:cpu,cpuacct:/a\n"), 0);
}

TEST_F(Cgroup, WithoutOneHasNoLimit) {
  EXPECT_EQ(cgroup_memory(folder_.path() / "none", folder_.path()), INFINITY);
  EXPECT_EQ(cgroup_cpus(folder_.path() / "none", folder_.path()), INFINITY);
}

}  // namespace
}  // namespace mote
