#include "report/page.h"

#include <gtest/gtest.h>

#include <cmath>

#include "report/comparison.h"
#include "report/embedded.h"
#include "report/resources.h"
#include "report/training.h"

namespace mote::report {
namespace {

constexpr const char* kHostile =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'";

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST(Page, IsOneFileThatAsksForNothingElse) {
  Page page("title");
  page.chart({"a chart", {"x"}, {"y"}, {{"line", {1, 2}, {3, 4}, {}, {}}}});
  const std::string html = page.html();
  EXPECT_NE(html.find(chart_library()), html.npos);
  EXPECT_NE(html.find("Released under the MIT License"), html.npos);
  for (const char* loads : {" src=", "href=", "@import", "url("}) {
    std::string own = html;
    own.erase(own.find(chart_library()), chart_library().size());
    EXPECT_EQ(own.find(loads), own.npos) << loads;
  }
  EXPECT_NE(html.find("default-src 'none'"), html.npos);
}

TEST(Page, TextStaysTextWhereverItStands) {
  const std::string plain = Page("t").html();
  Page page(kHostile);
  page.heading(kHostile);
  page.paragraph(kHostile);
  page.preformatted(kHostile);
  page.table({{kHostile}, {{kHostile}}});
  page.chart({kHostile, {kHostile}, {kHostile}, {{kHostile, {1}, {1}, {}, {}}}});
  page.heat_map({kHostile, kHostile, kHostile, {kHostile}, {{1, 2}}});
  const std::string html = page.html();
  EXPECT_EQ(count_of(html, "<script"), count_of(plain, "<script"));
  EXPECT_EQ(count_of(html, "</script"), count_of(plain, "</script"));
  EXPECT_EQ(html.find("<img"), html.npos);
}

TEST(Page, BytesThatAreNotUtf8BecomeReplacements) {
  Page page("a\xff");
  page.paragraph("b\xc3");
  page.chart({"c\xfe", {"x"}, {"y"}, {}});
  const std::string html = page.html();
  for (const char byte : {'\xff', '\xfe'}) EXPECT_EQ(html.find(byte), html.npos);
  EXPECT_NE(html.find("<p>b\xef\xbf\xbd</p>"), html.npos);
}

TEST(Page, NumbersThatAreNotFiniteAreGaps) {
  Page page("t");
  page.chart({"c", {"x"}, {"y"}, {{"s", {1, 2}, {NAN, INFINITY}, {}, {}}}});
  EXPECT_NE(page.html().find("\"y\":[null,null]"), std::string::npos);
}

TEST(Markdown, KeepsACellACell) {
  const std::string text = markdown({{"a|b", "c"}, {{"d\ne", "<b>|"}}});
  EXPECT_EQ(text, "| a\\|b | c |\n|---|---:|\n| d e | &lt;b>\\| |\n");
}

TEST(NumberText, IsShortAndReadable) {
  EXPECT_EQ(number_text(1234567), "1,234,567");
  EXPECT_EQ(number_text(-1234), "-1,234");
  EXPECT_EQ(number_text(100), "100");
  EXPECT_EQ(number_text(2.34567), "2.346");
  EXPECT_EQ(number_text(NAN), "-");
}

TEST(SpreadText, IsTheMeanAndTheSampleDeviation) {
  EXPECT_EQ(spread_text({1, 2, 3, 4}, 4), "2.5 \u00b1 1.3");
  EXPECT_EQ(spread_text({2.5}, 4), "2.5") << "one value has no spread";
  EXPECT_EQ(spread_text({}), "-");
}

Json row(const std::string& name, std::int64_t seed, double loss) {
  Json row = Json::parse(R"({"recipe": "r", "parameters": 1000, "feed_forward": 500,
      "feed_forward_active": 250, "active_flops": 2000.0, "training_flops": 1e9, "steps": 10, "tokens": 100,
      "valid_bits_per_byte": 2.5, "tokens_per_second": 10.0, "seconds": 3.0,
      "curve": [{"step": 5, "tokens": 50, "training_flops": 5e8, "seconds": 1.5, "valid_loss": 3.0}],
      "corrupted": [{"share": 0.01, "valid_loss": 3.5}],
      "layers": [{"layer": "blocks.0.feed_forward", "experts": 2, "usage": 1.0, "unevenness": 0.1,
                  "usage_perplexity": 0.9, "dead": 0.0, "active_mean": 1.0, "active_deviation": 0.0,
                  "weight_shares": [0.75, 0.25], "sorted": {"rank": [1, 2], "share": [0.75, 0.25]},
                  "together": [[0, 1], [1, 0]]}],
      "machine": {"cpu": "c", "isa": "avx2", "threads": 2, "version": "v", "commit": "0"}})");
  row["name"] = name, row["seed"] = seed, row["valid_loss"] = loss;
  return row;
}

TEST(TrainingPage, DrawsWhatMetricsTellAndSkipsTornLines) {
  Training training;
  training.title = "t";
  training.recipe = "steps = 20";
  training.facts = {{"parameters", 12345}};
  training.metrics =
      R"({"step": 10, "mean_loss": 3.5, "learning_rate": 0.1, "grad_norm": 2.5, "tokens_per_second": 7.5,
 )";  // torn
  training.metrics +=
      "\n"
      R"({"step": 20, "mean_loss": 2.5, "learning_rate": 0.25, "grad_norm": 1.5, "tokens_per_second": 8.5, "layers": {"blocks.0.feed_forward": {"usage_perplexity": 0.75, "dead": 0.125}}})"
      "\n"
      R"({"step": 20, "valid_loss": 2.75, "seconds": 3})"
      "\n{\"step";
  const std::string html = training_page(training);
  for (const char* part : {R"({"name":"training","x":[20.0],"y":[2.5],)",
                           R"({"name":"validation","x":[20.0],"y":[2.75],)",
                           R"({"name":"learning rate","x":[20.0],"y":[0.25],)", R"("y":[0.75],)",
                           R"("y":[0.125],)", "<td>12,345</td>", "<pre>steps = 20</pre>"})
    EXPECT_NE(html.find(part), html.npos) << part;
  EXPECT_EQ(count_of(html, "<canvas"), 6u);
  training.metrics = R"({"step": 20, "mean_loss": 2.5})";
  EXPECT_EQ(count_of(training_page(training), "<canvas"), 4u) << "without experts";
}

TEST(ComparisonPage, TellsMeansAndDeviationsOverSeeds) {
  Comparison c;
  c.title = "t", c.matched = "parameters", c.baseline = "a", c.seeds = 2;
  c.models = {"a", "b", "not yet run"};
  c.rows = {row("a", 1, 2), row("a", 2, 3), row("b", 1, 1.5)};
  const std::string table = comparison_table(c);
  EXPECT_NE(table.find("| a | 2 | 1,000 |"), table.npos) << table;
  EXPECT_NE(table.find("| 2.5 \u00b1 0.71 |"), table.npos) << table;
  EXPECT_NE(table.find("| -0.5 |"), table.npos) << "b against a, of the seed that both have";
  EXPECT_NE(table.find("Runs done: 3 of 6; seeds 1, 2"), table.npos);
  EXPECT_EQ(table.find("not yet run"), table.npos);
  const std::string html = comparison_page(c);
  EXPECT_NE(html.find("\"low\":[3.0]"), html.npos) << "a band where there are two seeds";
  EXPECT_NE(html.find("[[0.75,0.25]]"), html.npos);
}

TEST(Resources, AreACurveForEachLayerAndAChartForEachSizeAndMetric) {
  const auto line = [](const char* layer, int size, const char* metric, double median) {
    return concat(
        R"({"name": "layers", "layer": ")", layer, R"(", "sweep": "f", "size": )", size,
        R"(, "metric": ")", metric, R"(", "unit": "ms", "median": )", median,
        R"(, "min": 1, "best": 9, "cpu": "c", "isa": "avx2", "threads": 1, "version": "v"})", "\n");
  };
  const std::vector<Json> rows =
      resource_rows(concat(line("dense", 512, "time", 4), line("dense", 256, "time", 2),
                           line("peer", 256, "time", 3), line("dense", 256, "memory", 5),
                           R"({"name": "other row", "median": 3})", "\n\n"),
                    "rows.jsonl");
  EXPECT_EQ(rows.size(), 4u);
  Page page("t");
  add_resources(page, rows);
  const std::string html = page.html();
  EXPECT_EQ(count_of(html, "<canvas"), 2u);
  EXPECT_NE(
      html.find(
          R"({"name":"dense","x":[256.0,512.0],"y":[2.0,4.0],"low":[1.0,1.0],"high":[9.0,9.0]})"),
      html.npos);
  EXPECT_NE(html.find(R"("name":"peer")"), html.npos);
}

TEST(Resources, AFileWithoutThemIsRefused) {
  for (const char* text : {"", "{\"name\": \"moe-layer\", \"median\": 3}\n", "[1]\n", "nonsense\n"})
    EXPECT_THROW(resource_rows(text, "rows.jsonl"), Error) << text;
}

TEST(ComparisonPage, OfNoRowsYetIsAPage) {
  Comparison c;
  c.title = "t", c.matched = "parameters", c.baseline = "a", c.seeds = 1;
  c.models = {"a", "b"};
  EXPECT_NE(comparison_page(c).find("Runs done: 0 of 2"), std::string::npos);
}

TEST(ComparisonPage, AHostileNameStaysAName) {
  Comparison c;
  c.title = kHostile, c.matched = "parameters", c.baseline = kHostile, c.seeds = 1;
  c.models = {kHostile};
  c.rows = {row(kHostile, 1, 2)};
  c.machine = {{"command", kHostile}};
  EXPECT_TRUE(comparison_table(c).starts_with("# &lt;/script>&lt;script>alert(1)"));
  const std::string html = comparison_page(c);
  EXPECT_EQ(count_of(html, "</script"), count_of(Page("t").html(), "</script"));
  EXPECT_EQ(html.find("<img"), html.npos);
}

}  // namespace
}  // namespace mote::report
