// Where the time of a pass goes, by operation, for who asks (Pass::times).
#pragma once

#include <map>
#include <string>

#include "base/stopwatch.h"
#include "model/pass.h"

namespace mote::model {

class OpTimes {
 public:
  void add(const char* op, double seconds) { seconds_[op] += seconds; }
  const std::map<std::string, double>& seconds() const { return seconds_; }
  void reset() { seconds_.clear(); }

 private:
  std::map<std::string, double> seconds_;
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
