// What layers take as one of their sizes grows, from rows of `mote bench` (docs/formats.md): for each
// size that grows and each metric a chart, with a curve for each layer.
#pragma once

#include <string>
#include <vector>

#include "base/fields.h"
#include "report/page.h"

namespace mote::report {

// The rows of a file of JSON lines that can be drawn: those with "layer", "sweep" (which size grows), "size"
// (what it is), "metric", "unit" and "median". Throws where there is none, or a line is no JSON object.
std::vector<Json> resource_rows(const std::string& text, const std::string& file);

void add_resources(Page& page, const std::vector<Json>& rows);

}  // namespace mote::report
