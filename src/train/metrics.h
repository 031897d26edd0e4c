// metrics.jsonl: one JSON object per line, each with its "step".
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/fields.h"

namespace mote::train {

class Metrics {
 public:
  // Reads what was written for steps up to `steps_done`, a torn last line never.
  Metrics(std::filesystem::path path, std::int64_t steps_done);
  // Keeps that alone, to go on after it.
  void begin();
  void write(const Json& line);
  // Seconds of the last line that is kept, and the step that the last mean loss was told after.
  double seconds() const { return seconds_; }
  std::int64_t told_until() const { return told_until_; }

 private:
  std::filesystem::path path_;
  std::string kept_;
  std::ofstream out_;
  double seconds_ = 0;
  std::int64_t told_until_ = 0;
};

}  // namespace mote::train
