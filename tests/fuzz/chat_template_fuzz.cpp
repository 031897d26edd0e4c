// Any bytes as a chat template: refused with an Error, or text that is within the limits.
#include <cstdlib>

#include "base/check.h"
#include "text/jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mote::Json;
  static const Json variables = {
      {"messages",
       {{{"role", "system"}, {"content", "S"}},
        {{"role", "user"}, {"content", " H\xC3\xA9 "}},
        {{"role", "assistant"},
         {"content", nullptr},
         {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", {1, 2.5}}}}}}}}}},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"}};
  try {
    const mote::text::jinja::Template made({reinterpret_cast<const char*>(data), size});
    made.render(variables);
  } catch (const mote::Error&) {
  }
  return 0;
}
