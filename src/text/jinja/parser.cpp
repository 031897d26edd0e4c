#include "text/jinja/parser.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "text/jinja/lexer.h"

namespace mote::text::jinja {
namespace {

using Kind = Token::Kind;
using E = Expression::Kind;
using S = Statement::Kind;

// Recursion of the parser, and levels of what it makes.
constexpr int kMostDepth = 200;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokens_of(source)) {}

  Body run() {
    Body body = statements({});
    if (now().kind != Kind::end) fail("'" + now().text + "' closes nothing");
    return body;
  }

 private:
  // Counts the levels of recursion.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMostDepth) parser_.fail("the template is nested too deeply");
    }
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead(std::size_t by) const {
    return tokens_[std::min(at_ + by, tokens_.size() - 1)];
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::value, concat("line ", now().line, ": ", what));
  }
  bool is_sign(std::string_view text) const {
    return now().kind == Kind::sign && now().text == text;
  }
  bool is_word(std::string_view text) const {
    return now().kind == Kind::name && now().text == text;
  }
  bool take_sign(std::string_view text) { return is_sign(text) && (++at_, true); }
  bool take_word(std::string_view text) { return is_word(text) && (++at_, true); }
  void need_sign(std::string_view text) {
    if (!take_sign(text)) fail(concat("expected '", text, "', found ", described()));
  }
  void need_word(std::string_view text) {
    if (!take_word(text)) fail(concat("expected '", text, "', found ", described()));
  }
  std::string need_name() {
    if (now().kind != Kind::name) fail("expected a name, found " + described());
    return tokens_[at_++].text;
  }
  void end_block() {
    if (now().kind != Kind::end_block) fail("expected '%}', found " + described());
    ++at_;
  }
  std::string described() const {
    switch (now().kind) {
      case Kind::end:
        return "the template's end";
      case Kind::end_print:
        return "'}}'";
      case Kind::end_block:
        return "'%}'";
      case Kind::text:
      case Kind::begin_print:
      case Kind::begin_block:
        return "text";
      default:
        return "'" + now().text + "'";
    }
  }

  ExpressionPtr make(E kind, std::vector<ExpressionPtr> items, std::string text = "") const {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = now().line;
    made->text = std::move(text);
    for (const ExpressionPtr& item : items)
      if (item) made->depth = std::max(made->depth, item->depth + 1);
    if (made->depth > kMostDepth) fail("an expression is nested too deeply");
    made->items = std::move(items);
    return made;
  }
  template <class... Items>
  static std::vector<ExpressionPtr> items(Items... item) {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(item)), ...);
    return list;
  }
  ExpressionPtr constant(Value value) const {
    ExpressionPtr made = make(E::constant, {});
    made->value = std::move(value);
    return made;
  }
  std::unique_ptr<Statement> make(S kind) const {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = now().line;
    return made;
  }

  // Up to a block that begins with one of `ends`, which is left in place behind its {%.
  Body statements(const std::vector<std::string_view>& ends) {
    const Level level(*this);
    Body body;
    while (now().kind != Kind::end) {
      if (now().kind == Kind::text) {
        body.push_back(make(S::text));
        body.back()->text = tokens_[at_++].text;
      } else if (now().kind == Kind::begin_print) {
        ++at_;
        auto print = make(S::print);
        print->expression = tuple_or_one();
        if (now().kind != Kind::end_print) fail("expected '}}', found " + described());
        ++at_;
        body.push_back(std::move(print));
      } else {
        ++at_;
        if (now().kind == Kind::name &&
            std::find(ends.begin(), ends.end(), now().text) != ends.end())
          return body;
        body.push_back(block());
      }
    }
    if (!ends.empty()) fail(concat("the template ends and ", ends.back(), " is missing"));
    return body;
  }

  std::unique_ptr<Statement> block() {
    const std::string word = need_name();
    if (word == "if") return choose();
    if (word == "for") return loop();
    if (word == "set") return set();
    if (word == "macro") return macro();
    if (word == "filter") return filter();
    if (word == "generation") return group();
    if (word == "break" || word == "continue") {
      if (loops_ == 0) fail(word + " outside a loop");
      auto made = make(word == "break" ? S::break_loop : S::continue_loop);
      end_block();
      return made;
    }
    --at_;
    fail("'" + word +
         "' is unknown or out of place; known are if, for, set, macro, filter, generation, break, "
         "continue and raw");
  }

  std::unique_ptr<Statement> choose() {
    auto made = make(S::choose);
    made->conditions.push_back(tuple_or_one());
    end_block();
    while (true) {
      made->bodies.push_back(statements({"elif", "else", "endif"}));
      if (take_word("elif")) {
        made->conditions.push_back(tuple_or_one());
        end_block();
        continue;
      }
      if (take_word("else")) {
        end_block();
        made->bodies.push_back(statements({"endif"}));
      }
      need_word("endif");
      end_block();
      return made;
    }
  }

  std::unique_ptr<Statement> loop() {
    auto made = make(S::loop);
    made->target = target();
    need_word("in");
    made->expression = either();
    if (take_word("if")) made->conditions.push_back(expression());
    if (is_word("recursive")) fail("recursive loops are unknown");
    end_block();
    ++loops_;
    made->bodies.push_back(statements({"else", "endfor"}));
    --loops_;
    if (take_word("else")) {
      end_block();
      made->bodies.push_back(statements({"endfor"}));
    }
    need_word("endfor");
    end_block();
    return made;
  }

  Target target() {
    Target made;
    const bool bracket = take_sign("(");
    do {
      if (is_word("in") && !made.names.empty()) break;
      made.names.push_back(need_name());
    } while (take_sign(","));
    if (bracket) need_sign(")");
    return made;
  }

  std::unique_ptr<Statement> set() {
    auto made = make(S::set);
    made->target = target();
    if (take_sign(".")) {
      if (made->target.names.size() != 1) fail("only one attribute can be set at once");
      made->target.attribute = need_name();
    }
    if (take_sign("=")) {
      made->expression = tuple_or_one();
      end_block();
      return made;
    }
    made->kind = S::set_block;
    if (made->target.names.size() != 1) fail("expected '=', found " + described());
    made->expression = filters(constant(Value("")));
    end_block();
    made->bodies.push_back(statements({"endset"}));
    need_word("endset");
    end_block();
    return made;
  }

  std::unique_ptr<Statement> macro() {
    auto made = make(S::macro);
    made->text = need_name();
    need_sign("(");
    while (!take_sign(")")) {
      if (!made->parameters.empty()) need_sign(",");
      std::string name = need_name();
      ExpressionPtr otherwise;
      if (take_sign("=")) otherwise = expression();
      made->parameters.emplace_back(std::move(name), std::move(otherwise));
    }
    end_block();
    const int outer = std::exchange(loops_, 0);
    made->bodies.push_back(statements({"endmacro"}));
    loops_ = outer;
    need_word("endmacro");
    if (now().kind == Kind::name) ++at_;
    end_block();
    return made;
  }

  std::unique_ptr<Statement> filter() {
    auto made = make(S::filter);
    made->expression = filters(one_filter(constant(Value(""))));
    end_block();
    made->bodies.push_back(statements({"endfilter"}));
    need_word("endfilter");
    end_block();
    return made;
  }

  std::unique_ptr<Statement> group() {
    auto made = make(S::group);
    end_block();
    made->bodies.push_back(statements({"endgeneration"}));
    need_word("endgeneration");
    end_block();
    return made;
  }

  // a, b, c is a list.
  ExpressionPtr tuple_or_one() {
    ExpressionPtr first = expression();
    if (!is_sign(",")) return first;
    std::vector<ExpressionPtr> list = items(std::move(first));
    while (take_sign(",") && now().kind != Kind::end_block && now().kind != Kind::end_print)
      list.push_back(expression());
    return make(E::list, std::move(list));
  }

  ExpressionPtr expression() {
    const Level level(*this);
    ExpressionPtr value = either();
    while (take_word("if")) {
      ExpressionPtr condition = either();
      ExpressionPtr otherwise;
      if (take_word("else")) otherwise = expression();
      value = make(E::choice, items(std::move(condition), std::move(value), std::move(otherwise)));
    }
    return value;
  }
  ExpressionPtr either() {
    ExpressionPtr left = both();
    while (take_word("or")) left = make(E::either, items(std::move(left), both()));
    return left;
  }
  ExpressionPtr both() {
    ExpressionPtr left = inverted();
    while (take_word("and")) left = make(E::both, items(std::move(left), inverted()));
    return left;
  }
  ExpressionPtr inverted() {
    const Level level(*this);
    if (take_word("not")) return make(E::invert, items(inverted()));
    return compared();
  }
  ExpressionPtr compared() {
    std::vector<ExpressionPtr> operands = items(sum());
    std::vector<std::string> signs;
    while (true) {
      if (now().kind == Kind::sign &&
          (now().text == "==" || now().text == "!=" || now().text == "<" || now().text == ">" ||
           now().text == "<=" || now().text == ">=")) {
        signs.push_back(tokens_[at_++].text);
      } else if (take_word("in")) {
        signs.emplace_back("in");
      } else if (is_word("not") && ahead(1).kind == Kind::name && ahead(1).text == "in") {
        at_ += 2;
        signs.emplace_back("not in");
      } else {
        break;
      }
      operands.push_back(sum());
    }
    if (signs.empty()) return std::move(operands[0]);
    ExpressionPtr made = make(E::compare, std::move(operands));
    made->texts = std::move(signs);
    return made;
  }
  // Left to right, with one of `signs` between.
  template <class Operand>
  ExpressionPtr chain(std::initializer_list<std::string_view> signs, const Operand& operand) {
    ExpressionPtr left = operand();
    while (now().kind == Kind::sign &&
           std::find(signs.begin(), signs.end(), now().text) != signs.end()) {
      const std::string sign = tokens_[at_++].text;
      ExpressionPtr right = operand();
      left = make(E::binary, items(std::move(left), std::move(right)), sign);
    }
    return left;
  }
  ExpressionPtr sum() {
    return chain({"+", "-"}, [&] { return joined(); });
  }
  ExpressionPtr joined() {
    return chain({"~"}, [&] { return product(); });
  }
  ExpressionPtr product() {
    return chain({"*", "/", "//", "%"}, [&] { return power(); });
  }
  ExpressionPtr power() {
    return chain({"**"}, [&] { return unary(true); });
  }
  ExpressionPtr unary(bool with_filters) {
    const Level level(*this);
    ExpressionPtr value;
    if (take_sign("-"))
      value = make(E::negate, items(unary(false)));
    else if (take_sign("+"))
      value = make(E::posit, items(unary(false)));
    else
      value = primary();
    value = postfix(std::move(value));
    return with_filters ? filters(std::move(value)) : std::move(value);
  }

  ExpressionPtr primary() {
    const Token& token = now();
    if (token.kind == Kind::name) return word();
    if (token.kind == Kind::string) {
      std::string text;
      while (now().kind == Kind::string) text += tokens_[at_++].text;
      return constant(Value(std::move(text)));
    }
    if (token.kind == Kind::integer || token.kind == Kind::real) return number();
    if (take_sign("(")) {
      if (take_sign(")")) return make(E::list, {});
      ExpressionPtr inner = expression();
      if (is_sign(",")) {
        std::vector<ExpressionPtr> list = items(std::move(inner));
        while (take_sign(",") && !is_sign(")")) list.push_back(expression());
        inner = make(E::list, std::move(list));
      }
      need_sign(")");
      return inner;
    }
    if (take_sign("[")) {
      std::vector<ExpressionPtr> list;
      while (!take_sign("]")) {
        if (!list.empty()) need_sign(",");
        if (take_sign("]")) break;
        list.push_back(expression());
      }
      return make(E::list, std::move(list));
    }
    if (take_sign("{")) {
      std::vector<ExpressionPtr> list;
      while (!take_sign("}")) {
        if (!list.empty()) need_sign(",");
        if (take_sign("}")) break;
        list.push_back(expression());
        need_sign(":");
        list.push_back(expression());
      }
      return make(E::dict, std::move(list));
    }
    fail("expected a value, found " + described());
  }

  ExpressionPtr word() {
    const std::string name = need_name();
    if (name == "true" || name == "True") return constant(Value(true));
    if (name == "false" || name == "False") return constant(Value(false));
    if (name == "none" || name == "None") return constant(Value());
    for (const char* keyword : {"and", "or", "not", "in", "is", "if", "else", "elif"})
      if (name == keyword) --at_, fail("expected a value, found '" + name + "'");
    return make(E::name, {}, name);
  }

  ExpressionPtr number() {
    const bool real = now().kind == Kind::real;
    const std::string& text = tokens_[at_].text;
    if (real) {
      double value = 0;
      std::from_chars(text.data(), text.data() + text.size(), value);
      ++at_;
      return constant(Value(value));
    }
    std::int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc()) fail("the number " + text + " is too large");
    ++at_;
    return constant(Value(value));
  }

  ExpressionPtr postfix(ExpressionPtr value) {
    while (true) {
      if (take_sign(".")) {
        if (now().kind == Kind::integer) {
          ExpressionPtr index = number();
          value = make(E::item, items(std::move(value), std::move(index)));
        } else {
          std::string name = need_name();
          value = make(E::attribute, items(std::move(value)), std::move(name));
        }
      } else if (take_sign("[")) {
        value = subscript(std::move(value));
      } else if (is_sign("(")) {
        value = make(E::call, items(std::move(value)));
        arguments(*value);
      } else {
        return value;
      }
    }
  }

  ExpressionPtr subscript(ExpressionPtr value) {
    std::vector<ExpressionPtr> parts;  // begin, end, step
    bool slice = false;
    ExpressionPtr part;
    while (!take_sign("]")) {
      if (take_sign(":")) {
        slice = true;
        parts.push_back(std::move(part));
      } else {
        if (part) fail("expected ']', found " + described());
        part = expression();
      }
      if (parts.size() > 2) fail("a slice has at most three parts");
    }
    if (!slice) {
      if (!part) fail("expected a value, found ']'");
      return make(E::item, items(std::move(value), std::move(part)));
    }
    parts.push_back(std::move(part));
    parts.resize(3);
    return make(E::slice, items(std::move(value), std::move(parts[0]), std::move(parts[1]),
                                std::move(parts[2])));
  }

  // ( ... ), added to a call, filter or test.
  void arguments(Expression& call) {
    need_sign("(");
    bool first = true;
    while (!take_sign(")")) {
      if (!std::exchange(first, false)) need_sign(",");
      if (take_sign(")")) break;
      if (is_sign("*") || is_sign("**")) fail("arguments from a list are unknown");
      if (now().kind == Kind::name && ahead(1).kind == Kind::sign && ahead(1).text == "=") {
        std::string name = need_name();
        ++at_;
        call.named.emplace_back(std::move(name), expression());
        call.depth = std::max(call.depth, call.named.back().second->depth + 1);
      } else {
        if (!call.named.empty()) fail("an argument without a name follows one with a name");
        call.items.push_back(expression());
        call.depth = std::max(call.depth, call.items.back()->depth + 1);
      }
    }
    if (call.depth > kMostDepth) fail("an expression is nested too deeply");
  }

  ExpressionPtr one_filter(ExpressionPtr value) {
    std::string name = need_name();
    ExpressionPtr made = make(E::filter, items(std::move(value)), std::move(name));
    if (is_sign("(")) arguments(*made);
    return made;
  }

  ExpressionPtr filters(ExpressionPtr value) {
    while (true) {
      if (take_sign("|"))
        value = one_filter(std::move(value));
      else if (take_word("is"))
        value = test(std::move(value));
      else if (is_sign("("))
        value = postfix(std::move(value));
      else
        return value;
    }
  }

  ExpressionPtr test(ExpressionPtr value) {
    const bool inverted_test = take_word("not");
    std::string name = need_name();
    ExpressionPtr made = make(E::test, items(std::move(value)), std::move(name));
    const bool starts_value =
        now().kind == Kind::string || now().kind == Kind::integer || now().kind == Kind::real ||
        is_sign("[") || is_sign("{") ||
        (now().kind == Kind::name && !is_word("else") && !is_word("or") && !is_word("and") &&
         !is_word("is") && !is_word("if") && !is_word("in") && !is_word("not"));
    if (is_sign("(")) {
      arguments(*made);
    } else if (starts_value) {
      made->items.push_back(postfix(primary()));
      made->depth = std::max(made->depth, made->items.back()->depth + 1);
    }
    return inverted_test ? make(E::invert, items(std::move(made))) : std::move(made);
  }

  const std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

Body parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace mote::text::jinja
