#include "train/metrics.h"

#include <sstream>

#include "base/file.h"

namespace mote::train {
namespace {

// Whether a run that goes on after `steps_done` steps will not write this line again: it repeats
// the evaluation after the last of them.
bool belongs_before(const Json& line, std::int64_t steps_done) {
  if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer())
    return false;
  return line["step"] < steps_done || (line["step"] == steps_done && !line.contains("valid_loss"));
}

}  // namespace

Metrics::Metrics(std::filesystem::path path, std::int64_t steps_done) : path_(std::move(path)) {
  if (!std::filesystem::exists(path_)) return;
  std::istringstream lines(read_file(path_));
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!belongs_before(json, steps_done)) continue;
    kept_ += line + "\n";
    if (const auto found = json.find("seconds"); found != json.end() && found->is_number())
      seconds_ = found->get<double>();
    if (json.contains("mean_loss")) told_until_ = json["step"].get<std::int64_t>();
  }
}

void Metrics::begin() {
  write_file(path_, kept_);
  out_.open(path_, std::ios::app);
}

void Metrics::write(const Json& line) {
  out_ << line.dump() << std::endl;
  if (!out_)
    throw Error(ErrorKind::system, concat("cannot write ", path_.string(), "; is the disk full?"))
        .in(path_.string());
}

}  // namespace mote::train
