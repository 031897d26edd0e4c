// A page of results that opens without a network: headings, text, tables, curves and heat maps, drawn
// by Chart.js, which is part of the page (embedded/chart.min.js; MIT licence).
//
// Whatever is given as text is shown as text: names from a recipe or a file cannot become markup or
// script. Numbers that are not finite, and those at most 0 on a logarithmic axis, are gaps.
//
// For tests: opened with #check, the page sets on every canvas data-drawn (by the library, once it has
// drawn) and data-painted (pixels that are not blank), and on its body data-errors.
#pragma once

#include <string>
#include <vector>

#include "base/fields.h"

namespace mote::report {

struct Series {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low, high;  // a band about y; empty: none
};

struct Axis {
  std::string title;
  bool log = false;
};

struct LineChart {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
};

// Cells from 0 to their largest, row by row; a darker cell is a larger number.
struct HeatMap {
  std::string title, x, y;
  std::vector<std::string> rows;
  std::vector<std::vector<double>> cells;  // of each row; rows may differ in length
};

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

class Page {
 public:
  explicit Page(std::string title) : title_(std::move(title)) {}
  void heading(const std::string& text);
  void paragraph(const std::string& text);
  void preformatted(const std::string& text);
  void table(const Table& table);
  void chart(const LineChart& chart);
  void heat_map(const HeatMap& map);
  std::string html() const;

 private:
  void canvas(const std::string& title, double height, Json chart);
  const std::string title_;
  std::string body_;
  Json charts_ = Json::array();
};

// One line of text that is no markup, in a cell or outside.
std::string markdown_text(const std::string& text);
std::string markdown(const Table& table);

// `digits` significant ones: "1.234", "56,780", "1.2e+09".
std::string number_text(double value, int digits = 4);
// Mean and sample standard deviation as "2.345 ± 0.012"; of one value, that alone.
std::string spread_text(const std::vector<double>& values, int digits = 4);
struct MeanDeviation {
  double mean = 0, deviation = 0;
};
MeanDeviation mean_deviation(const std::vector<double>& values);

}  // namespace mote::report
