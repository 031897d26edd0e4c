#include "report/page.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/json_text.h"
#include "report/embedded.h"

namespace mote::report {
namespace {

// As text between tags.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

// JSON that no parser of HTML sees an end of script in, and that is valid UTF-8.
std::string script_json(const Json& json) {
  std::string out;
  for (const char c : json_text(json)) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

std::string element(const char* tag, const std::string& text) {
  // Through JSON's writer, which makes it valid UTF-8.
  const std::string valid = Json::parse(json_text(Json(text))).get<std::string>();
  return concat("<", tag, ">", escaped(valid), "</", tag, ">");
}

Json axis_json(const Axis& axis) {
  return {{"title", axis.title}, {"log", axis.log}};
}

}  // namespace

void Page::heading(const std::string& text) {
  body_ += element("h2", text) + "\n";
}

void Page::paragraph(const std::string& text) {
  body_ += element("p", text) + "\n";
}

void Page::preformatted(const std::string& text) {
  body_ += element("pre", text) + "\n";
}

void Page::table(const Table& table) {
  std::string text = "<table><thead><tr>";
  for (const std::string& column : table.columns) text += element("th", column);
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (const std::string& cell : row) text += element("td", cell);
    text += "</tr>\n";
  }
  body_ += text + "</tbody></table>\n";
}

void Page::canvas(const std::string& title, double height, Json chart) {
  body_ += concat(element("h3", title), "\n<div class=\"chart\" style=\"height:", height,
                  "px\"><canvas id=\"chart-", charts_.size(), "\"></canvas></div>\n");
  charts_.push_back(std::move(chart));
}

void Page::chart(const LineChart& chart) {
  Json series = Json::array();
  for (const Series& each : chart.series)
    series.push_back({{"name", each.name},
                      {"x", each.x},
                      {"y", each.y},
                      {"low", each.low},
                      {"high", each.high}});
  canvas(chart.title, 340,
         {{"kind", "lines"},
          {"x", axis_json(chart.x)},
          {"y", axis_json(chart.y)},
          {"series", series}});
}

void Page::heat_map(const HeatMap& map) {
  const double rows = static_cast<double>(map.rows.size());
  canvas(
      map.title, std::clamp(90 + 14 * rows, 130.0, 560.0),
      {{"kind", "heat_map"}, {"x", map.x}, {"y", map.y}, {"rows", map.rows}, {"cells", map.cells}});
}

std::string Page::html() const {
  std::string text = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  text += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  // A page that needs nothing is allowed nothing.
  text +=
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src "
      "'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n";
  text += concat(element("title", title_), "\n<style>\n", page_style(),
                 "</style>\n</head>\n<body>\n", element("h1", title_), "\n", body_);
  text += concat("<script type=\"application/json\" id=\"charts\">", script_json(charts_),
                 "</script>\n<script>\n", chart_library(), "\n</script>\n<script>\n", page_script(),
                 "</script>\n</body>\n</html>\n");
  return text;
}

std::string markdown_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\') out += '\\';
    if (c == '<')
      out += "&lt;";
    else
      out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string markdown(const Table& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (const std::string& cell : cells) text += " " + markdown_text(cell) + " |";
    return text + "\n";
  };
  std::string text = line(table.columns) + "|";
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += i == 0 ? "---|" : "---:|";
  text += "\n";
  for (const auto& row : table.rows) text += line(row);
  return text;
}

std::string number_text(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char text[64];
  if (value == std::floor(value) && std::abs(value) < 1e15 && std::abs(value) >= 10) {
    std::snprintf(text, sizeof text, "%.0f", value);
    std::string whole = text;
    for (auto at = static_cast<std::ptrdiff_t>(whole.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
      whole.insert(static_cast<std::size_t>(at), ",");
    return whole;
  }
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

MeanDeviation mean_deviation(const std::vector<double>& values) {
  MeanDeviation result;
  if (values.empty()) return result;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / count;
  for (const double value : values)
    result.deviation += (value - result.mean) * (value - result.mean);
  result.deviation = values.size() > 1 ? std::sqrt(result.deviation / (count - 1)) : 0;
  return result;
}

std::string spread_text(const std::vector<double>& values, int digits) {
  if (values.empty()) return "-";
  const auto [mean, deviation] = mean_deviation(values);
  std::string text = number_text(mean, digits);
  if (values.size() > 1) text += " \u00b1 " + number_text(deviation, 2);
  return text;
}

}  // namespace mote::report
