#include "report/resources.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>
#include <tuple>

#include "base/check.h"

namespace mote::report {
namespace {

bool can_be_drawn(const Json& row) {
  const auto has = [&](const char* key, bool (Json::*is)() const noexcept) {
    return row.contains(key) && (row[key].*is)();
  };
  return has("layer", &Json::is_string) && has("sweep", &Json::is_string) &&
         has("size", &Json::is_number) && has("metric", &Json::is_string) &&
         has("unit", &Json::is_string) && has("median", &Json::is_number);
}

// The points of a curve, by size: the last row of each counts.
using Points = std::map<double, const Json*>;

Series series_of(const std::string& name, const Points& points) {
  Series series;
  series.name = name;
  bool band = true;
  for (const auto& [size, row] : points)
    band = band && row->value("min", Json()).is_number() && row->value("best", Json()).is_number();
  for (const auto& [size, row] : points) {
    series.x.push_back(size);
    series.y.push_back((*row)["median"].get<double>());
    if (!band) continue;
    const auto [low, high] =
        std::minmax({(*row)["min"].get<double>(), (*row)["best"].get<double>()});
    series.low.push_back(low);
    series.high.push_back(high);
  }
  return series;
}

}  // namespace

std::vector<Json> resource_rows(const std::string& text, const std::string& file) {
  std::vector<Json> rows;
  std::istringstream lines(text);
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    Json row = Json::parse(line, nullptr, false);
    if (!row.is_object())
      throw Error(ErrorKind::file,
                  concat(file, ": line ", number,
                         " is no JSON object; give what mote bench --json printed"))
          .in(file);
    if (can_be_drawn(row)) rows.push_back(std::move(row));
  }
  if (rows.empty())
    throw Error(ErrorKind::file,
                concat(file, ": none of ", number,
                       " lines has layer, sweep, size, metric, unit and median; give what mote "
                       "bench layers --json printed"))
        .in(file);
  return rows;
}

void add_resources(Page& page, const std::vector<Json>& rows) {
  if (rows.empty()) return;
  page.heading("Resources");
  page.paragraph(
      "What one layer takes as one of its sizes grows: medians, with a band from the least to the "
      "best of the "
      "samples.");
  using Chart = std::tuple<std::string, std::string, std::string>;  // sweep, metric, unit
  std::map<Chart, std::map<std::string, Points>> charts;
  for (const Json& row : rows)
    charts[{row["sweep"], row["metric"], row["unit"]}][row["layer"]][row["size"]] = &row;
  for (const auto& [key, curves] : charts) {
    const auto& [sweep, metric, unit] = key;
    LineChart chart{concat(metric, " by ", sweep), {sweep, true}, {unit, true}, {}};
    for (const auto& [layer, points] : curves) chart.series.push_back(series_of(layer, points));
    page.chart(chart);
  }
  Table made{{"processor", "instruction set", "threads", "version"}, {}};
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const char* key : {"cpu", "isa", "threads", "version"}) {
      const Json value = row.value(key, Json("-"));
      cells.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    }
    if (std::find(made.rows.begin(), made.rows.end(), cells) == made.rows.end())
      made.rows.push_back(cells);
  }
  page.table(made);
}

}  // namespace mote::report
