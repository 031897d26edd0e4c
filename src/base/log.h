// Messages for people, on stderr. The only place that knows the logging library is log.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace mote::log {

enum class Level { quiet, normal, verbose };

void set_level(Level level);
void debug(const std::string& message);
void info(const std::string& message);
void warn(const std::string& message);

// A long job's progress: a bar with rate and time left on a terminal, a plain line every ten
// seconds elsewhere, nothing when quiet.
class Progress {
 public:
  Progress(std::string title, std::int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // `done` of the total so far; `note` stands at the end of the line.
  void update(std::int64_t done, const std::string& note = "");
  // Sets where counting starts, for a job that goes on from before; the rate counts from there.
  void start_at(std::int64_t done);
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void print(bool last);
  std::string title_, unit_, note_;
  std::int64_t total_, first_ = 0, done_ = 0;
  Clock::time_point begin_ = Clock::now(), shown_{};
  bool terminal_, finished_ = false, printed_ = false;
};

}  // namespace mote::log
