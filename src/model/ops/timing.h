// Where the time of a pass goes, by operation, for who asks (Pass::times).
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/stopwatch.h"
#include "model/pass.h"

namespace mote::model {

class OpTimes {
 public:
  // `op` is a literal.
  void add(const char* op, double seconds) {
    for (auto& [name, sum] : seconds_)
      if (name == op) {
        sum += seconds;
        return;
      }
    seconds_.emplace_back(op, seconds);
  }
  // By operation, in the order in which they first came.
  const std::vector<std::pair<std::string_view, double>>& seconds() const { return seconds_; }
  void reset() { seconds_.clear(); }

 private:
  std::vector<std::pair<std::string_view, double>> seconds_;
};

}  // namespace mote::model

namespace mote::model::ops {

// Adds its lifetime to an operation's time. Operations do not nest.
class Timed {
 public:
  Timed(const Pass& pass, const char* op) : times_(pass.times), op_(op) {}
  ~Timed() {
    if (times_) times_->add(op_, stopwatch_.seconds());
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  OpTimes* times_;
  const char* op_;
  Stopwatch stopwatch_;
};

}  // namespace mote::model::ops
