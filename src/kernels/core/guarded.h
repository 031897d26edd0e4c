// An output buffer between two zones that must stay as they are; for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/core/view.h"

namespace mote::kernels {

template <class T>
class Guarded {
 public:
  explicit Guarded(Index count)
      : count_(count), all_(static_cast<std::size_t>(count + 2 * kZone), T{kMark}) {}
  // Reports every element outside the buffer that was written to.
  ~Guarded() {
    const auto clean = [](const T& each) { return each == T{kMark}; };
    EXPECT_TRUE(std::all_of(all_.begin(), all_.begin() + kZone, clean)) << "written before";
    EXPECT_TRUE(std::all_of(all_.end() - kZone, all_.end(), clean)) << "written behind";
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return all_.data() + kZone; }
  Index size() const { return count_; }
  std::vector<T> values() const { return {all_.begin() + kZone, all_.end() - kZone}; }

 private:
  static constexpr Index kZone = 67;  // odd, so that the buffer is not aligned either
  static constexpr signed char kMark = 91;
  Index count_;
  std::vector<T> all_;
};

}  // namespace mote::kernels
