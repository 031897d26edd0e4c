// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace mote::text::jinja {

struct Expression {
  enum class Kind {
    constant,   // value
    name,       // text
    list,       // items
    dict,       // items: key, value, key, value, ...
    attribute,  // items[0].text
    item,       // items[0][items[1]]
    slice,      // items[0][items[1]:items[2]:items[3]], absent ones null
    call,       // items[0](items[1..], named)
    filter,     // items[0] | text(items[1..], named)
    test,       // items[0] is text(items[1..])
    negate,     // - items[0]
    posit,      // + items[0]
    invert,     // not items[0]
    both,       // items[0] and items[1]
    either,     // items[0] or items[1]
    choice,     // items[1] if items[0] else items[2], which may be null
    compare,    // items[0] text items[1] ..., operators in texts
    binary,     // items[0] text items[1]
  };
  Kind kind;
  int line;
  int depth = 1;
  std::string text;
  Value value;
  std::vector<std::unique_ptr<Expression>> items;
  std::vector<std::string> texts;
  std::vector<std::pair<std::string, std::unique_ptr<Expression>>> named;
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

// Where a value goes: names, or one attribute of a namespace.
struct Target {
  std::vector<std::string> names;
  std::string attribute;
};

struct Statement {
  enum class Kind {
    text,       // text
    print,      // expression
    choose,     // bodies[i] for the first true conditions[i]; one more body: else
    loop,       // target in expression, if conditions[0]; bodies[0], else bodies[1]
    set,        // target = expression
    set_block,  // target = what bodies[0] prints, through `expression`'s filters
    macro,      // text(parameters): bodies[0]
    filter,     // what bodies[0] prints, through `expression`'s filters
    group,      // bodies[0] alone
    break_loop,
    continue_loop,
  };
  Kind kind;
  int line;
  std::string text;
  Target target;
  ExpressionPtr expression;
  std::vector<ExpressionPtr> conditions;
  std::vector<Body> bodies;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // with their defaults or null
};

}  // namespace mote::text::jinja
