#include "text/jinja/template.h"

#include <gtest/gtest.h>

#include "base/check.h"

namespace mote::text::jinja {
namespace {

std::string render(const std::string& source, const Json& variables = Json::object()) {
  return Template(source).render(variables);
}

std::string refused(const std::string& source, const Json& variables = Json::object()) {
  try {
    return "accepted: " + render(source, variables);
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(JinjaTemplate, TrimsAroundBlocksAndNotAroundValues) {
  EXPECT_EQ(render("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
  EXPECT_EQ(render("a {%- if true -%} b {%- endif %} c"), "ab c");
  EXPECT_EQ(render("a\n  {%+ if true %}b{% endif +%}\nc"), "a\n  b\nc");
  EXPECT_EQ(render("{{ 1 }}\n  {{ 2 }}\n{# no #}\n3"), "1\n  2\n3");
  EXPECT_EQ(render("x\n {{- 'y' -}} \n z"), "xyz");
  EXPECT_EQ(render("{% raw %}{{ a }}{% endraw %}"), "{{ a }}");
}

TEST(JinjaTemplate, EvaluatesExpressionsAsPythonDoes) {
  EXPECT_EQ(render("{{ 1 + 2 * 3 }}{{ 3 ~ 4 }}"), "734");
  EXPECT_EQ(render("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }}"), "-4 2 3.5 8");
  EXPECT_EQ(render("{{ 'abc'[::-1] }}{{ [1,2,3][1:] }}{{ 'abcd'[-3:-1] }}"), "cba[2, 3]bc");
  EXPECT_EQ(render("{{ 1 if x else 2 }}{{ 3 if not x }}", {{"x", false}}), "23");
  EXPECT_EQ(render("{{ 'a' in 'abc' and 4 not in [1, 2] }}"), "True");
  EXPECT_EQ(render("{{ text.split() }}", {{"text",
                                           " a\x1C"
                                           "b\n"}}),
            "['a', 'b']");
  EXPECT_EQ(render("{{ none }}{{ missing }}{{ true }}{{ 1.0 }}"), "NoneTrue1.0");
  EXPECT_EQ(render("{{ {'a': [1, \"it's\"]} }}"), "{'a': [1, \"it's\"]}");
}

TEST(JinjaTemplate, LoopsKnowTheirPlaceAndKeepTheirNames) {
  EXPECT_EQ(render("{% for x in l %}{{ loop.index0 }}{{ x }}{{ ',' if not loop.last }}{% endfor %}",
                   {{"l", {"a", "b"}}}),
            "0a,1b");
  EXPECT_EQ(render("{% set s = 0 %}{% for x in [1, 2] %}{% set s = x %}{% endfor %}{{ s }}"), "0");
  EXPECT_EQ(render("{% set n = namespace(s=0) %}{% for x in [1, 2] %}{% set n.s = n.s + x %}{% "
                   "endfor %}{{ n.s }}"),
            "3");
  EXPECT_EQ(render("{% for k, v in d.items() %}{{ k }}{{ v }}{% else %}none{% endfor %}",
                   {{"d", {{"a", 1}}}}),
            "a1");
  EXPECT_EQ(render("{% for x in [] %}{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(render("{% for x in [1,2,3,4] if x is odd %}{{ x }}{{ loop.length }}{% endfor %}"),
            "1232");
  EXPECT_EQ(
      render("{% for x in [1,2,3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}"),
      "13");
}

TEST(JinjaTemplate, WritesJsonWithoutEscapingForPages) {
  EXPECT_EQ(render("{{ x | tojson }}",
                   {{"x", {{"a", "<b> & '\xC3\xA9\"\n"}, {"n", {1, 2.5, nullptr, true}}}}}),
            "{\"a\": \"<b> & '\xC3\xA9\\\"\\n\", \"n\": [1, 2.5, null, true]}");
  EXPECT_EQ(render("{{ [1, {}] | tojson(indent=2) }}"), "[\n  1,\n  {}\n]");
}

TEST(JinjaTemplate, MacrosSeeTheirParametersAlone) {
  EXPECT_EQ(render("{% macro m(a, b='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}"
                   "{% for c in [1] %}{{ m(1) }}{{ m(b=2, a=3) }}{% endfor %}"),
            "1x32");
}

TEST(JinjaTemplate, NamesTheLineOfWhatItDoesNotUnderstand) {
  EXPECT_EQ(refused("a\n{% iff %}"),
            "line 2: 'iff' is unknown or out of place; known are if, for, set, macro, filter, "
            "generation, "
            "break, continue and raw");
  EXPECT_EQ(refused("\n\n{{ 1 + }}"), "line 3: expected a value, found '}}'");
  EXPECT_EQ(refused("{{ 'a' | shout }}"), "line 1: the filter 'shout' is unknown");
  EXPECT_EQ(refused("{{ 1 is big }}"), "line 1: the test 'big' is unknown");
  EXPECT_EQ(refused("{% if true %}\n"), "line 1: the template ends and endif is missing");
  EXPECT_EQ(refused("\n{{ a.b.c }}"), "line 2: 'a' is undefined and has no 'b'");
  EXPECT_EQ(refused("{{ f() }}"), "line 1: 'f' is undefined and cannot be called");
  EXPECT_EQ(refused("{{ 'a' + 1 }}"), "line 1: string + integer has no meaning");
  EXPECT_EQ(refused("{{ [1].append(2) }}"), "line 1: 'append' is undefined and cannot be called");
  EXPECT_EQ(refused("{{ 'a'.strip(1, 2, 3) }}"),
            "line 1: strip: chars is of type integer, not string");
  EXPECT_EQ(refused("{{ 'a'.upper(1) }}"), "line 1: upper has an argument that is unknown");
  EXPECT_EQ(refused("{{ [1] | map(nothing, d=1) }}"),
            "line 1: map: filter is of type undefined, not string");
  EXPECT_EQ(refused("{{ 9223372036854775807 + 1 }}"),
            "line 1: 9223372036854775807 + 1 is too large");
  EXPECT_EQ(refused("{{ 1 % 0 }}"), "line 1: a division by 0");
  EXPECT_EQ(refused("{{ raise_exception('roles must alternate') }}"),
            "line 1: the template refuses the conversation: roles must alternate");
}

TEST(JinjaTemplate, EndsWhatWouldTakeForEver) {
  EXPECT_NE(
      refused("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")
          .find("too many steps"),
      std::string::npos);
  EXPECT_NE(refused("{% set n = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set n.s = n.s "
                    "+ n.s %}{% endfor %}")
                .find("line 1: "),
            std::string::npos);
  EXPECT_NE(refused("{% set n = namespace(s=[1]) %}{% for i in range(1000) %}{% set n.s = [n.s] "
                    "%}{% endfor %}")
                .find("nested more than 100"),
            std::string::npos);
  EXPECT_NE(refused("{% set n = namespace(f=1) %}{% for i in range(1000) %}{% set n.f = {'a': "
                    "n.f}.get %}{% endfor %}")
                .find("nested more than 100"),
            std::string::npos);
  EXPECT_NE(refused("{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, "
                    "n.l] %}{% endfor %}{{ n.l }}")
                .find("larger than"),
            std::string::npos);
  EXPECT_NE(refused("{{ (range(100000) | list) | unique | list }}").find("too many steps"),
            std::string::npos);
  EXPECT_NE(refused("{% set n = namespace() %}{% set n.n = n %}").find("cannot stand inside"),
            std::string::npos);
  EXPECT_NE(refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("levels deep"),
            std::string::npos);
  EXPECT_NE(refused("{{ 'a' * 10000000000 }}").find("too long"), std::string::npos);
  const auto repeated = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  EXPECT_NE(
      refused("{{ " + repeated("(", 50000) + "1" + repeated(")", 50000) + " }}").find("too deeply"),
      std::string::npos);
  EXPECT_NE(refused("{{ 1" + repeated(" + 1", 50000) + " }}").find("too deeply"),
            std::string::npos);
  EXPECT_NE(refused("{{ a" + repeated(".a", 50000) + " }}").find("too deeply"), std::string::npos);
  EXPECT_NE(refused(repeated("{% if 1 %}", 10000)).find("too deeply"), std::string::npos);
  EXPECT_NE(refused("{{ " + repeated("not ", 50000) + "1 }}").find("too deeply"),
            std::string::npos);
}

}  // namespace
}  // namespace mote::text::jinja
