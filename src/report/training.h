// The page of one training run, from its metrics.jsonl (docs/formats.md).
#pragma once

#include <string>

#include "base/fields.h"

namespace mote::report {

struct Training {
  std::string title;
  std::string metrics;          // the text of metrics.jsonl
  std::string recipe;           // TOML
  Json facts = Json::object();  // of the model and the program, name by name
};

std::string training_page(const Training& training);

}  // namespace mote::report
