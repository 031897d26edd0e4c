#include "report/training.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/json_text.h"
#include "report/page.h"

namespace mote::report {
namespace {

using Lines = std::vector<Json>;

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("step") && json["step"].is_number())
      lines.push_back(std::move(json));
  }
  return lines;
}

Series over_steps(const Lines& lines, const char* key, const std::string& name) {
  Series series;
  series.name = name;
  for (const Json& line : lines) {
    const auto found = line.find(key);
    if (found == line.end() || !found->is_number()) continue;
    series.x.push_back(line["step"].get<double>());
    series.y.push_back(found->get<double>());
  }
  return series;
}

// Of every layer of experts a number over time.
std::vector<Series> of_layers(const Lines& lines, const char* key) {
  std::vector<Series> all;
  for (const Json& line : lines) {
    const auto layers = line.find("layers");
    if (layers == line.end() || !layers->is_object()) continue;
    for (const auto& [name, layer] : layers->items()) {
      if (!layer.is_object() || !layer.contains(key) || !layer[key].is_number()) continue;
      auto found = std::find_if(all.begin(), all.end(), [&, &name = name](const Series& each) {
        return each.name == name;
      });
      if (found == all.end()) {
        found = all.insert(all.end(), Series{});
        found->name = name;
      }
      found->x.push_back(line["step"].get<double>());
      found->y.push_back(layer[key].get<double>());
    }
  }
  return all;
}

}  // namespace

std::string training_page(const Training& training) {
  const Lines lines = lines_of(training.metrics);
  const Axis steps{"step"};
  Page page(training.title);
  Table facts;
  for (const auto& [name, value] : training.facts.items()) {
    if (facts.rows.empty()) facts.rows.emplace_back();
    facts.columns.push_back(name);
    facts.rows[0].push_back(value.is_string()   ? value.get<std::string>()
                            : value.is_number() ? number_text(value.get<double>(), 5)
                                                : json_text(value));
  }
  page.table(facts);
  LineChart loss{"Loss, nats per token", steps, {"loss"}, {}};
  loss.series = {over_steps(lines, "mean_loss", "training"),
                 over_steps(lines, "valid_loss", "validation")};
  std::erase_if(loss.series, [](const Series& series) { return series.x.empty(); });
  page.chart(loss);
  page.chart({"Learning rate",
              steps,
              {"learning rate"},
              {over_steps(lines, "learning_rate", "learning rate")}});
  page.chart({"Norm of the gradients before clipping",
              steps,
              {"norm", true},
              {over_steps(lines, "grad_norm", "norm")}});
  page.chart({"Speed",
              steps,
              {"tokens a second"},
              {over_steps(lines, "tokens_per_second", "tokens a second")}});
  if (const auto usage = of_layers(lines, "usage_perplexity"); !usage.empty()) {
    page.heading("Experts");
    page.paragraph(
        "Of the rows of single steps. Usage perplexity: exp of the entropy of the experts' shares "
        "over the "
        "number of experts, 1 when all are used alike. A step has few rows for many experts, which "
        "leaves "
        "experts without any by chance alone.");
    page.chart({"Usage perplexity", steps, {"usage perplexity"}, usage});
    page.chart({"Experts without a row", steps, {"share of experts"}, of_layers(lines, "dead")});
  }
  page.heading("Recipe");
  page.preformatted(training.recipe);
  return page.html();
}

}  // namespace mote::report
