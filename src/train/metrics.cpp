#include "train/metrics.h"

#include <sstream>

#include "base/file.h"

namespace mote::train {

Metrics::Metrics(std::filesystem::path path, std::int64_t steps_done) : path_(std::move(path)) {
  std::string kept;
  if (std::filesystem::exists(path_)) {
    std::istringstream lines(read_file(path_));
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line, nullptr, false);
      if (json.is_object() && json.contains("step") && json["step"].is_number_integer() &&
          json["step"] <= steps_done)
        kept += line + "\n";
    }
  }
  write_file(path_, kept);
  out_.open(path_, std::ios::app);
}

void Metrics::write(const Json& line) {
  out_ << line.dump() << std::endl;
  if (!out_)
    throw Error(ErrorKind::system, concat("cannot write ", path_.string(), "; is the disk full?"))
        .in(path_.string());
}

}  // namespace mote::train
