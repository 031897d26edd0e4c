// What templates can do with values: filters and tests (filters.cpp), operators, items and methods
// (operators.cpp, text_methods.cpp), functions (functions.cpp).
#pragma once

#include <cstdint>
#include <string>

#include "text/jinja/value.h"

namespace mote::text::jinja {

// What a rendering may use. Each step of an evaluation and each 64 bytes or items that one makes
// count one; a template that needs more ends in an Error, so that none runs for ever.
class Budget {
 public:
  static constexpr std::size_t kMostSteps = 3'000'000, kMostBytes = std::size_t{1} << 26;
  void spend(std::size_t bytes = 0);

 private:
  std::size_t steps_ = 0;
};

// Throw Error for a name that is unknown, and for arguments that do not fit.
Value filter(const std::string& name, const Value& value, Arguments& arguments, Budget& budget);
bool test(const std::string& name, const Value& value, Arguments& arguments);
// A method or attribute of a value; undefined if there is none.
Value attribute(const Value& value, const std::string& name);
Value item(const Value& value, const Value& key);
Value slice(const Value& value, const Value& begin, const Value& end, const Value& step);
Value binary(const std::string& sign, const Value& left, const Value& right, Budget& budget);
bool compare(const std::string& sign, const Value& left, const Value& right);
// Below 0, 0 or above it; of numbers, of texts and of lists of such.
int order(const Value& left, const Value& right);
// Characters, items or entries.
std::int64_t length(const Value& value);
// The items that a loop over it has.
Items iterate(const Value& value);
// Lists of a key and its value.
Value items_of(const Value::Dict& dict);

// range, namespace, dict, raise_exception, strftime_now.
Entries functions();

}  // namespace mote::text::jinja
