#include "text/jinja/template.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/check.h"
#include "text/jinja/builtins.h"
#include "text/jinja/parser.h"

namespace mote::text::jinja {
namespace {

// Names of a loop or macro, over those around it.
struct Scope {
  const Scope* outer = nullptr;
  Entries names = {};

  const Value* find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer)
      for (auto entry = scope->names.rbegin(); entry != scope->names.rend(); ++entry)
        if (entry->first == name) return &entry->second;
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [key, old] : names)
      if (key == name) return void(old = std::move(value));
    names.emplace_back(name, std::move(value));
  }
};

class Rendering {
 public:
  explicit Rendering(Scope& top) : top_(top) {}
  std::string run(const Body& body) {
    std::string out;
    statements(body, top_, out);
    return out;
  }

 private:
  enum class Flow { next, leave, again };  // after a statement: go on, break, continue
  // Statements and expressions inside one another, through macros too.
  static constexpr int kMostLevels = 1000;
  class Level {
   public:
    explicit Level(Rendering& rendering) : levels_(rendering.levels_) {
      if (++levels_ > kMostLevels) --levels_, too_deep();
    }
    ~Level() { --levels_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    [[noreturn]] static void too_deep() {
      throw Error(ErrorKind::value,
                  concat("the template goes more than ", kMostLevels, " levels deep"));
    }
    int& levels_;
  };

  Flow statements(const Body& body, Scope& scope, std::string& out);
  Flow statement(const Statement& s, Scope& scope, std::string& out);
  Flow loop(const Statement& s, Scope& scope, std::string& out);
  void assign(const Target& target, const Value& value, Scope& scope);
  Value macro(const Statement& s);
  std::string printed(const Value& value) {
    budget_.spend(value.size());
    return value.str();
  }
  void put(std::string& out, const std::string& text) {
    budget_.spend(text.size());
    MOTE_CHECK(out.size() + text.size() <= Budget::kMostBytes, "the text is longer than ",
               Budget::kMostBytes, " bytes");
    out += text;
  }

  // A text is copied wherever it is used.
  Value spent(Value value) {
    if (value.is<std::string>()) budget_.spend(value.text().size());
    return value;
  }
  Value evaluate(const Expression& e, const Scope& scope);
  Value part(const Expression& e, std::size_t at, const Scope& scope) {
    return e.items[at] ? evaluate(*e.items[at], scope) : Value();
  }
  Arguments arguments(const Expression& e, const Scope& scope);
  Value call(const Expression& e, const Scope& scope);
  bool compared(const Expression& e, const Scope& scope);
  // The filters of a set or filter block, whose innermost value stands for `text`.
  Value filtered(const Expression& e, const std::string& text, const Scope& scope);

  Scope& top_;
  Budget budget_;
  int levels_ = 0;
};

Rendering::Flow Rendering::statements(const Body& body, Scope& scope, std::string& out) {
  for (const auto& each : body)
    if (const Flow flow = statement(*each, scope, out); flow != Flow::next) return flow;
  return Flow::next;
}

// Errors get the line of the innermost statement that has one.
Rendering::Flow Rendering::statement(const Statement& s, Scope& scope, std::string& out) {
  const Level level(*this);
  budget_.spend();
  try {
    switch (s.kind) {
      case Statement::Kind::text:
        put(out, s.text);
        return Flow::next;
      case Statement::Kind::print:
        put(out, printed(evaluate(*s.expression, scope)));
        return Flow::next;
      case Statement::Kind::choose:
        for (std::size_t i = 0; i < s.conditions.size(); ++i)
          if (evaluate(*s.conditions[i], scope).truthy())
            return statements(s.bodies[i], scope, out);
        return s.bodies.size() > s.conditions.size() ? statements(s.bodies.back(), scope, out)
                                                     : Flow::next;
      case Statement::Kind::loop:
        return loop(s, scope, out);
      case Statement::Kind::set:
        assign(s.target, evaluate(*s.expression, scope), scope);
        return Flow::next;
      case Statement::Kind::set_block:
      case Statement::Kind::filter: {
        std::string inner;
        Scope inside{&scope};
        const Flow flow = statements(s.bodies[0], inside, inner);
        const Value value = filtered(*s.expression, inner, scope);
        if (s.kind == Statement::Kind::filter)
          put(out, value.str());
        else
          assign(s.target, value, scope);
        return flow;
      }
      case Statement::Kind::macro:
        scope.set(s.text, macro(s));
        return Flow::next;
      case Statement::Kind::group:
        return statements(s.bodies[0], scope, out);
      case Statement::Kind::break_loop:
        return Flow::leave;
      case Statement::Kind::continue_loop:
        return Flow::again;
    }
  } catch (const Error& error) {
    if (std::string(error.what()).starts_with("line ")) throw;
    throw Error(error.kind(), concat("line ", s.line, ": ", error.what()));
  }
  return Flow::next;
}

Rendering::Flow Rendering::loop(const Statement& s, Scope& scope, std::string& out) {
  const Value over = evaluate(*s.expression, scope);
  Items all = iterate(over), items;
  budget_.spend(all.size());
  if (s.conditions.empty()) {
    items = std::move(all);
  } else {
    for (Value& each : all) {
      Scope inside{&scope};
      assign(s.target, each, inside);
      if (evaluate(*s.conditions[0], inside).truthy()) items.push_back(std::move(each));
    }
  }
  if (items.empty()) return s.bodies.size() > 1 ? statements(s.bodies[1], scope, out) : Flow::next;
  const auto size = static_cast<std::int64_t>(items.size());
  for (std::int64_t i = 0; i < size; ++i) {
    const auto at = static_cast<std::size_t>(i);
    Scope inside{&scope};
    inside.set(
        "loop",
        Value::dict({{"index", i + 1},
                     {"index0", i},
                     {"revindex", size - i},
                     {"revindex0", size - i - 1},
                     {"first", i == 0},
                     {"last", i + 1 == size},
                     {"length", size},
                     {"previtem", i > 0 ? items[at - 1] : Value(Undefined{"previtem"})},
                     {"nextitem", i + 1 < size ? items[at + 1] : Value(Undefined{"nextitem"})},
                     {"cycle", Function([i](Arguments& given) -> Value {
                        MOTE_CHECK(!given.at.empty(), "cycle needs values");
                        return given.at[static_cast<std::size_t>(i) % given.at.size()];
                      })}}));
    assign(s.target, items[at], inside);
    budget_.spend();
    if (statements(s.bodies[0], inside, out) == Flow::leave) break;
  }
  return Flow::next;
}

void Rendering::assign(const Target& target, const Value& value, Scope& scope) {
  if (!target.attribute.empty()) {
    const Value* there = scope.find(target.names[0]);
    MOTE_CHECK(there != nullptr, "'", target.names[0], "' is undefined; it must be a namespace");
    Value shared = *there;
    return shared.set_attribute(target.attribute, value);
  }
  if (target.names.size() == 1) return scope.set(target.names[0], value);
  const Items parts = iterate(value);
  MOTE_CHECK(parts.size() == target.names.size(), parts.size(), " values cannot be given to ",
             target.names.size(), " names");
  for (std::size_t i = 0; i < parts.size(); ++i) scope.set(target.names[i], parts[i]);
}

// A macro sees the template's own names and its parameters, not its caller's.
Value Rendering::macro(const Statement& s) {
  return Function([this, &s](Arguments& given) -> Value {
    MOTE_CHECK(given.at.size() <= s.parameters.size(), "the macro ", s.text, " has ",
               s.parameters.size(), " parameters, not ", given.at.size());
    Scope inside{&top_};
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      const auto& [name, otherwise] = s.parameters[i];
      std::optional<Value> value;
      if (i < given.at.size()) value = given.at[i];
      for (const auto& [key, each] : given.named)
        if (key == name) value = each;
      if (!value) value = otherwise ? evaluate(*otherwise, inside) : Value(Undefined{name});
      inside.set(name, std::move(*value));
    }
    for (const auto& entry : given.named)
      MOTE_CHECK(std::any_of(s.parameters.begin(), s.parameters.end(),
                             [&](const auto& parameter) { return parameter.first == entry.first; }),
                 "the macro ", s.text, " has no parameter ", entry.first);
    std::string out;
    statements(s.bodies[0], inside, out);
    return out;
  });
}

Arguments Rendering::arguments(const Expression& e, const Scope& scope) {
  Arguments given;
  for (std::size_t i = 1; i < e.items.size(); ++i) given.at.push_back(evaluate(*e.items[i], scope));
  for (const auto& [name, value] : e.named) given.named.emplace_back(name, evaluate(*value, scope));
  return given;
}

Value Rendering::call(const Expression& e, const Scope& scope) {
  const Value function = evaluate(*e.items[0], scope);
  if (function.is<Undefined>())
    throw Error(ErrorKind::value,
                concat("'", function.undefined_name(), "' is undefined and cannot be called"));
  MOTE_CHECK(function.is_function(), "a value of type ", function.type_name(), " cannot be called");
  Arguments given = arguments(e, scope);
  Value result = function.function()(given);
  budget_.spend(result.is<std::string>() ? result.text().size()
                : result.is_list()       ? 64 * result.items().size()
                                         : 0);
  return result;
}

bool Rendering::compared(const Expression& e, const Scope& scope) {
  Value left = evaluate(*e.items[0], scope);
  for (std::size_t i = 0; i < e.texts.size(); ++i) {
    Value right = evaluate(*e.items[i + 1], scope);
    budget_.spend(right.is<std::string>() ? right.text().size()
                  : right.is_list()       ? right.items().size()
                                          : 0);
    if (!compare(e.texts[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Rendering::filtered(const Expression& e, const std::string& text, const Scope& scope) {
  if (e.kind == Expression::Kind::constant) return text;
  MOTE_CHECK(e.kind == Expression::Kind::filter, "only filters may follow here");
  Arguments given = arguments(e, scope);
  return filter(e.text, filtered(*e.items[0], text, scope), given, budget_);
}

Value Rendering::evaluate(const Expression& e, const Scope& scope) {
  using Kind = Expression::Kind;
  const Level level(*this);
  budget_.spend();
  switch (e.kind) {
    case Kind::constant:
      return spent(e.value);
    case Kind::name: {
      const Value* found = scope.find(e.text);
      if (found != nullptr && found->is<std::string>()) budget_.spend(found->text().size());
      return found == nullptr ? Value(Undefined{e.text}) : *found;
    }
    case Kind::list: {
      Items items;
      for (const ExpressionPtr& each : e.items) items.push_back(evaluate(*each, scope));
      return Value::list(std::move(items));
    }
    case Kind::dict: {
      Entries entries;
      for (std::size_t i = 0; i < e.items.size(); i += 2) {
        const Value key = evaluate(*e.items[i], scope);
        Value value = evaluate(*e.items[i + 1], scope);
        const auto there = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
          return entry.first == key.str();
        });
        if (there != entries.end())
          there->second = std::move(value);
        else
          entries.emplace_back(key.str(), std::move(value));
      }
      return Value::dict(std::move(entries));
    }
    case Kind::attribute:
      return spent(attribute(evaluate(*e.items[0], scope), e.text));
    case Kind::item:
      return spent(item(evaluate(*e.items[0], scope), evaluate(*e.items[1], scope)));
    case Kind::slice: {
      const Value value = evaluate(*e.items[0], scope);
      budget_.spend(value.is<std::string>() ? value.text().size()
                    : value.is_list()       ? 64 * value.items().size()
                                            : 0);
      return slice(value, part(e, 1, scope), part(e, 2, scope), part(e, 3, scope));
    }
    case Kind::call:
      return call(e, scope);
    case Kind::filter: {
      const Value value = evaluate(*e.items[0], scope);
      Arguments given = arguments(e, scope);
      return filter(e.text, value, given, budget_);
    }
    case Kind::test: {
      const Value value = evaluate(*e.items[0], scope);
      Arguments given = arguments(e, scope);
      return test(e.text, value, given);
    }
    case Kind::negate:
      return binary("-", std::int64_t{0}, evaluate(*e.items[0], scope), budget_);
    case Kind::posit:
      return binary("+", std::int64_t{0}, evaluate(*e.items[0], scope), budget_);
    case Kind::invert:
      return !evaluate(*e.items[0], scope).truthy();
    case Kind::both: {
      Value left = evaluate(*e.items[0], scope);
      return left.truthy() ? evaluate(*e.items[1], scope) : left;
    }
    case Kind::either: {
      Value left = evaluate(*e.items[0], scope);
      return left.truthy() ? left : evaluate(*e.items[1], scope);
    }
    case Kind::choice:
      if (evaluate(*e.items[0], scope).truthy()) return evaluate(*e.items[1], scope);
      return e.items[2] ? evaluate(*e.items[2], scope) : Value(Undefined{"the other value"});
    case Kind::compare:
      return compared(e, scope);
    case Kind::binary: {
      const Value left = evaluate(*e.items[0], scope);
      return binary(e.text, left, evaluate(*e.items[1], scope), budget_);
    }
  }
  return {};
}

}  // namespace

Template::Template(std::string_view source) : body_(parse(source)) {}

std::string Template::render(const Json& variables) const {
  MOTE_CHECK(variables.is_object(), "a template's variables are an object, not a ",
             variables.type_name());
  Scope top{nullptr, functions()};
  for (const auto& [name, value] : variables.items()) top.set(name, Value::from_json(value));
  return Rendering(top).run(body_);
}

}  // namespace mote::text::jinja
