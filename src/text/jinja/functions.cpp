#include <ctime>

#include "text/jinja/builtins.h"
#include "text/jinja/given.h"

namespace mote::text::jinja {
namespace {

constexpr std::int64_t kMostRange = 100'000;

Value range(Arguments& arguments) {
  std::vector<std::int64_t> bounds;
  for (const Value& each : arguments.at) {
    if (!each.is_whole()) fail(concat("range needs integers, not a ", each.type_name()));
    bounds.push_back(each.whole());
  }
  if (bounds.empty() || bounds.size() > 3 || !arguments.named.empty())
    fail("range needs one to three integers");
  const std::int64_t begin = bounds.size() > 1 ? bounds[0] : 0;
  const std::int64_t end = bounds.size() > 1 ? bounds[1] : bounds[0];
  const std::int64_t step = bounds.size() > 2 ? bounds[2] : 1;
  if (step == 0) fail("range: the step is 0");
  Items items;
  for (std::int64_t at = begin; step > 0 ? at < end : at > end;) {
    if (static_cast<std::int64_t>(items.size()) == kMostRange)
      fail(concat("range has more than ", kMostRange, " items"));
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(std::move(items));
}

Entries entries_from(Arguments& arguments, const char* what) {
  Entries entries;
  for (const Value& each : arguments.at) {
    if (!each.is_dict()) fail(concat(what, " needs a dict, not a ", each.type_name()));
    for (const auto& entry : each.entries().entries) entries.push_back(entry);
  }
  for (auto& entry : arguments.named) entries.push_back(std::move(entry));
  return entries;
}

std::string now_as(const std::string& format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string text(1024, '\0');
  if (format.size() > 200) fail("strftime_now: the format is too long");
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  return text;
}

}  // namespace

Entries functions() {
  return {
      {"range", Function(range)},
      {"namespace",
       Function([](Arguments& a) { return Value::make_namespace(entries_from(a, "namespace")); })},
      {"dict", Function([](Arguments& a) { return Value::dict(entries_from(a, "dict")); })},
      {"raise_exception", Function([](Arguments& a) -> Value {
         static const std::string what = "raise_exception";
         fail("the template refuses the conversation: " + Given(what, a).text(0, "message"));
       })},
      {"strftime_now", Function([](Arguments& a) -> Value {
         static const std::string what = "strftime_now";
         return now_as(Given(what, a).text(0, "format"));
       })},
  };
}

}  // namespace mote::text::jinja
