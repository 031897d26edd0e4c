// The page and the table of a comparison, from the rows of its results.jsonl (docs/formats.md).
#pragma once

#include <string>
#include <vector>

#include "base/fields.h"

namespace mote::report {

struct Comparison {
  std::string title, matched, baseline;
  std::int64_t seeds = 0;           // asked for; rows tell which are done
  Json machine = Json::object();    // of this program
  std::vector<std::string> models;  // in the order of the recipe
  std::vector<Json> rows;           // checked to have a row's keys
  std::vector<Json> resources;      // of report/resources.h; empty: none
};

std::string comparison_page(const Comparison& comparison);
// Markdown: what it is, and the table of means and deviations.
std::string comparison_table(const Comparison& comparison);

}  // namespace mote::report
