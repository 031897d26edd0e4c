// metrics.jsonl: one JSON object per line, each with its "step".
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "base/fields.h"

namespace mote::train {

class Metrics {
 public:
  // Keeps what was written for steps up to `steps_done`, a torn last line never, and goes on after
  // it.
  Metrics(std::filesystem::path path, std::int64_t steps_done);
  void write(const Json& line);
  // Seconds of the last line that is kept.
  double seconds() const { return seconds_; }

 private:
  std::filesystem::path path_;
  std::ofstream out_;
  double seconds_ = 0;
};

}  // namespace mote::train
