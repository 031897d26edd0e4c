// The one error type and the one check.
//
// A caller's mistake, a bad file or the system's refusal throws Error: what was being done, the two
// values that disagree and the next step. Our own mistakes are assert(). Only cli/main.cpp catches.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace mote {

enum class ErrorKind {
  value,        // an argument or a size that does not fit
  file,         // a file's bytes are not what its format says
  system,       // the operating system refused: no such file, disk full
  config,       // a recipe or config.json: unknown key, wrong type, impossible value
  numeric,      // NaN or Inf where a finite number was needed
  unsupported,  // this build or this machine cannot do it
  usage,        // the command line itself
  interrupted,  // Ctrl-C, SIGTERM or SIGHUP, after what could be saved was saved
};

const char* name(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  // Where it went wrong, for `--json`; the message names them too.
  Error& in(std::string file) { return file_ = std::move(file), *this; }
  Error& at(std::string field) { return field_ = std::move(field), *this; }

  ErrorKind kind() const { return kind_; }
  const std::string& file() const { return file_; }
  const std::string& field() const { return field_; }

 private:
  ErrorKind kind_;
  std::string file_, field_;
};

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

}  // namespace mote

// Throws a value error whose message is the parts that follow, written one after another.
#define MOTE_CHECK(condition, ...)                                                                \
  do {                                                                                            \
    if (!(condition)) throw ::mote::Error(::mote::ErrorKind::value, ::mote::concat(__VA_ARGS__)); \
  } while (false)
