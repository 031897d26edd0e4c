#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/json_text.h"
#include "report/page.h"
#include "report/resources.h"

namespace mote::report {
namespace {

using Rows = std::vector<const Json*>;

// A number of a row that need not have it: NaN.
double number(const Json& row, const char* key) {
  const auto found = row.find(key);
  return found != row.end() && found->is_number() ? found->get<double>() : NAN;
}

std::string text(const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end()) return "";
  return found->is_string() ? found->get<std::string>() : json_text(*found);
}

Rows rows_of(const Comparison& c, const std::string& name) {
  Rows rows;
  for (const Json& row : c.rows)
    if (row["name"] == name) rows.push_back(&row);
  return rows;
}

std::vector<double> values(const Rows& rows, const char* key) {
  std::vector<double> list;
  for (const Json* row : rows)
    if (const double value = number(*row, key); std::isfinite(value)) list.push_back(value);
  return list;
}

std::string spread(const Rows& rows, const char* key, int digits = 5) {
  return spread_text(values(rows, key), digits);
}

// Differences of the validation loss of runs with the same seed.
std::string against(const Rows& rows, const Rows& base) {
  std::vector<double> differences;
  for (const Json* row : rows)
    for (const Json* other : base)
      if ((*row)["seed"] == (*other)["seed"])
        differences.push_back(number(*row, "valid_loss") - number(*other, "valid_loss"));
  if (differences.empty()) return "-";
  return (mean_deviation(differences).mean > 0 ? "+" : "") + spread_text(differences, 3);
}

Table main_table(const Comparison& c) {
  Table table{{"model", "seeds", "parameters", "feed-forward", "of these active",
               "FLOPs a token, forward", "FLOPs of training", "steps", "valid loss",
               "bits per byte", "against the baseline, seed by seed", "tokens/s", "seconds"},
              {}};
  const Rows base = rows_of(c, c.baseline);
  for (const std::string& name : c.models) {
    const Rows rows = rows_of(c, name);
    if (rows.empty()) continue;
    const Json& row = *rows[0];
    table.rows.push_back(
        {name, std::to_string(rows.size()), number_text(number(row, "parameters")),
         number_text(number(row, "feed_forward")), number_text(number(row, "feed_forward_active")),
         number_text(number(row, "active_flops")), number_text(number(row, "training_flops")),
         number_text(number(row, "steps")), spread(rows, "valid_loss"),
         spread(rows, "valid_bits_per_byte"), name == c.baseline ? "-" : against(rows, base),
         spread(rows, "tokens_per_second", 4), spread(rows, "seconds", 4)});
  }
  return table;
}

std::string seeds_text(const Comparison& c) {
  std::set<std::int64_t> seeds;
  for (const Json& row : c.rows) seeds.insert(row["seed"].get<std::int64_t>());
  std::string list;
  for (const std::int64_t seed : seeds) list += (list.empty() ? "" : ", ") + std::to_string(seed);
  const std::size_t all = c.models.size() * static_cast<std::size_t>(c.seeds);
  return concat(
      "Matched: ", c.matched, ", to '", c.baseline, "'. Runs done: ", c.rows.size(), " of ", all,
      "; seeds ", list.empty() ? "none yet" : list,
      ". A seed decides the initial values and dropout; all runs read the same batches in the "
      "same order. Numbers with \u00b1 are means and sample standard deviations over seeds",
      c.seeds == 1 ? "; with one seed there is no spread, and differences may be noise." : ".");
}

// A point of the mean, with the band of what has several values.
void add_point(Series& series, double x, const std::vector<double>& values) {
  const auto [mean, deviation] = mean_deviation(values);
  series.x.push_back(x);
  series.y.push_back(mean);
  if (values.size() == 1) return;
  series.low.push_back(mean - deviation);
  series.high.push_back(mean + deviation);
}

// Mean and deviation over seeds at each point that all runs of a model have.
Series curve(const std::string& name, const Rows& rows, const char* x, const char* y) {
  Series series;
  series.name = name;
  std::size_t points = SIZE_MAX;
  for (const Json* row : rows) points = std::min(points, (*row)["curve"].size());
  for (std::size_t i = 0; i < points && !rows.empty(); ++i) {
    std::vector<double> at, values;
    for (const Json* row : rows) {
      at.push_back(number((*row)["curve"][i], x));
      values.push_back(number((*row)["curve"][i], y));
    }
    add_point(series, mean_deviation(at).mean, values);
  }
  return series;
}

void add_curves(Page& page, const Comparison& c) {
  page.heading("Loss");
  page.paragraph(
      "Validation loss in nats per token, the mean over seeds with a band of one standard "
      "deviation. Seconds "
      "are those of the run, evaluations and saving included; other programs on the machine show "
      "in them.");
  const auto chart = [&](const char* title, const Axis& x, const char* key) {
    LineChart lines{title, x, {"validation loss"}, {}};
    for (const std::string& name : c.models)
      if (const Rows rows = rows_of(c, name); !rows.empty())
        lines.series.push_back(curve(name, rows, key, "valid_loss"));
    page.chart(lines);
  };
  chart("Loss against training FLOPs", {"training FLOPs", true}, "training_flops");
  chart("Loss against tokens", {"tokens"}, "tokens");
  chart("Loss against wall time", {"seconds"}, "seconds");
}

void add_corrupted(Page& page, const Comparison& c) {
  page.heading("Corrupted input");
  page.paragraph(
      "Validation loss where a share of the tokens that are read is replaced by tokens drawn at "
      "random; what "
      "is to be predicted stays.");
  LineChart lines{
      "Loss under corrupted input", {"share of tokens replaced"}, {"validation loss"}, {}};
  Table table{{"model", "0 %"}, {}};
  for (const std::string& name : c.models) {
    const Rows rows = rows_of(c, name);
    if (rows.empty()) continue;
    std::map<double, std::vector<double>> by_share;
    by_share[0] = values(rows, "valid_loss");
    for (const Json* row : rows)
      for (const Json& each : (*row)["corrupted"])
        by_share[number(each, "share")].push_back(number(each, "valid_loss"));
    Series series;
    series.name = name;
    std::vector<std::string> cells = {name};
    for (const auto& [share, losses] : by_share) {
      add_point(series, share, losses);
      cells.push_back(spread_text(losses, 5));
      if (table.rows.empty() && share > 0)
        table.columns.push_back(number_text(100 * share, 3) + " %");
    }
    lines.series.push_back(series);
    table.rows.push_back(cells);
  }
  page.chart(lines);
  page.table(table);
}

// The layers of a model's runs that have an entry `key`, by name, in order.
std::vector<std::pair<std::string, Rows>> layers_with(const Rows& rows, const char* key) {
  std::vector<std::pair<std::string, Rows>> layers;
  for (const Json* row : rows)
    for (const Json& layer : (*row)["layers"]) {
      if (!layer.is_object() || !layer.contains(key)) continue;
      const std::string name = text(layer, "layer");
      auto found = std::find_if(layers.begin(), layers.end(),
                                [&](const auto& each) { return each.first == name; });
      if (found == layers.end()) found = layers.insert(layers.end(), {name, {}});
      found->second.push_back(&layer);
    }
  return layers;
}

void add_layer_table(Page& page, const Comparison& c) {
  Table table{{"model", "layer", "experts", "usage", "unevenness, nats", "usage perplexity", "dead",
               "overlap with the layer before", "active channels a token", "deviation over tokens"},
              {}};
  for (const std::string& name : c.models)
    for (const auto& [layer, rows] : layers_with(rows_of(c, name), "active_mean"))
      table.rows.push_back({name, layer, number_text(number(*rows[0], "experts")),
                            spread(rows, "usage", 4), spread(rows, "unevenness", 4),
                            spread(rows, "usage_perplexity", 4), spread(rows, "dead", 4),
                            spread(rows, "overlap", 4), spread(rows, "active_mean", 4),
                            spread(rows, "active_deviation", 4)});
  page.table(table);
}

std::vector<std::vector<double>> cells_of(const Json& rows) {
  std::vector<std::vector<double>> cells;
  for (const Json& row : rows) {
    cells.emplace_back();
    for (const Json& cell : row)
      cells.back().push_back(cell.is_number() ? cell.get<double>() : NAN);
  }
  return cells;
}

std::vector<std::string> numbered(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

void add_usage(Page& page, const Comparison& c) {
  page.heading("Experts");
  page.paragraph(
      "On the validation text. Usage: share of experts with a gate above 0 at least once; "
      "unevenness: "
      "divergence of the gate-weighted usage from a uniform one, ln E + sum z ln z; usage "
      "perplexity: exp of "
      "the entropy of the counts over E; dead: share of experts that no token was sent to. A text "
      "that is "
      "short for the number of experts leaves experts unused and usage uneven by chance alone. "
      "Active "
      "channels: hidden units above 0, of lookup layers rows with a gate above 0.");
  add_layer_table(page, c);
  for (const std::string& name : c.models) {
    const Rows rows = rows_of(c, name);
    const auto layers = layers_with(rows, "weight_shares");
    if (layers.empty()) continue;
    HeatMap map{concat("Expert usage by layer: ", name, ", seed ", text(*rows[0], "seed")),
                "expert",
                "layer",
                {},
                {}};
    LineChart sorted{concat("Sorted usage: ", name, ", mean over seeds"),
                     {"rank of the expert", true},
                     {"share of the gates", true},
                     {}};
    for (const auto& [layer, of] : layers) {
      map.rows.push_back(layer);
      map.cells.push_back(cells_of(Json::array({(*of[0])["weight_shares"]}))[0]);
      const std::size_t shown = map.cells.back().size();
      if (number(*of[0], "experts") > static_cast<double>(shown))
        map.x = concat("expert, in ", shown, " groups of neighbours");
      Series series;
      series.name = layer;
      const auto& shares = (*of[0])["sorted"]["share"];
      for (std::size_t i = 0; i < shares.size(); ++i) {
        std::vector<double> at;
        for (const Json* each : of)
          if (i < (*each)["sorted"]["share"].size())
            at.push_back((*each)["sorted"]["share"][i].get<double>());
        series.x.push_back((*of[0])["sorted"]["rank"][i].get<double>());
        series.y.push_back(mean_deviation(at).mean);
      }
      sorted.series.push_back(series);
    }
    page.heat_map(map);
    page.chart(sorted);
  }
}

void add_together(Page& page, const Comparison& c) {
  page.heading("Experts used together");
  page.paragraph(
      "Of the tokens that use the expert of a row and another one, the share that each of the "
      "others has, for "
      "layers of at most 256 experts (more than 64 in groups of neighbours); the middle layer with "
      "experts, "
      "first seed.");
  for (const std::string& name : c.models) {
    const auto layers = layers_with(rows_of(c, name), "together");
    if (layers.empty()) continue;
    const auto& [layer, rows] = layers[(layers.size() - 1) / 2];
    const auto cells = cells_of((*rows[0])["together"]);
    page.heat_map({concat("Co-occurrence: ", name, ", ", layer), "with expert", "expert",
                   numbered(cells.size()), cells});
  }
}

void add_origin(Page& page, const Comparison& c) {
  page.heading("How it was made");
  page.preformatted(text(c.machine, "command"));
  Table table{{"model", "seed", "processor", "instruction set", "threads", "mote", "commit"}, {}};
  for (const Json& row : c.rows) {
    const Json& m = row["machine"];
    table.rows.push_back({text(row, "name"), text(row, "seed"), text(m, "cpu"), text(m, "isa"),
                          text(m, "threads"), text(m, "version"), text(m, "commit")});
  }
  page.table(table);
}

}  // namespace

std::string comparison_page(const Comparison& c) {
  Page page(c.title);
  page.paragraph(seeds_text(c));
  page.table(main_table(c));
  add_curves(page, c);
  add_usage(page, c);
  add_together(page, c);
  add_corrupted(page, c);
  add_resources(page, c.resources);
  add_origin(page, c);
  return page.html();
}

std::string comparison_table(const Comparison& c) {
  return concat("# ", markdown_text(c.title), "\n\n", markdown_text(seeds_text(c)), "\n\n",
                markdown(main_table(c)), "\n`", text(c.machine, "command"), "`\n");
}

}  // namespace mote::report
