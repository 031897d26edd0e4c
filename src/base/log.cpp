#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace mote::log {
namespace {

std::atomic<Level> current_level{Level::normal};

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = spdlog::stderr_color_mt("mote");
    made->set_pattern("%^%v%$");
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *instance;
}

std::string duration(double seconds) {
  const auto whole = std::lround(seconds);
  char text[32];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

}  // namespace

void set_level(Level level) {
  current_level = level;
  logger().set_level(level == Level::quiet     ? spdlog::level::warn
                     : level == Level::verbose ? spdlog::level::debug
                                               : spdlog::level::info);
}

void debug(const std::string& message) {
  logger().debug("{}", message);
}
void info(const std::string& message) {
  logger().info("{}", message);
}
void warn(const std::string& message) {
  logger().warn("warning: {}", message);
}

Progress::Progress(std::string title, std::int64_t total, std::string unit)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) == 1) {
  shown_ = begin_;
}

Progress::~Progress() {
  if (!finished_ && printed_ && terminal_) std::fputc('\n', stderr);
}

void Progress::start_at(std::int64_t done) {
  first_ = done_ = done;
}

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  if (current_level == Level::quiet) return;
  const auto now = Clock::now();
  if (now - shown_ <
      (terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000)))
    return;
  shown_ = now;
  print(false);
}

void Progress::finish() {
  if (finished_ || current_level == Level::quiet) return;
  print(true);
  finished_ = true;
}

void Progress::print(bool last) {
  printed_ = true;
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_ - first_) / seconds : 0;
  std::ostringstream line;
  line << title_ << " ";
  if (terminal_) {
    const int width = 24;
    const int filled = total_ > 0 ? static_cast<int>(width * std::min(done_, total_) / total_) : 0;
    line << "[" << std::string(static_cast<std::size_t>(filled), '#')
         << std::string(static_cast<std::size_t>(width - filled), '.') << "] ";
  }
  line << done_ << "/" << total_ << " " << unit_;
  char number[32];
  std::snprintf(number, sizeof number, "%.3g", rate);
  line << ", " << number << " " << unit_ << "/s";
  if (last)
    line << ", " << duration(seconds);
  else if (rate > 0)
    line << ", " << duration(static_cast<double>(total_ - done_) / rate) << " left";
  if (!note_.empty()) line << ", " << note_;
  if (terminal_)
    std::fprintf(stderr, "\r\x1b[K%s%s", line.str().c_str(), last ? "\n" : "");
  else
    std::fprintf(stderr, "%s\n", line.str().c_str());
  std::fflush(stderr);
}

}  // namespace mote::log
