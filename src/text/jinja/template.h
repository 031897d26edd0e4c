// Jinja templates, as far as language models' chat templates use them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/jinja/tree.h"

namespace mote::text::jinja {

// Const calls may run at the same time.
class Template {
 public:
  // Throws Error(value) with the line for what is not understood.
  explicit Template(std::string_view source);

  // The text for these variables, an object. Throws Error(value) with the line: what the template
  // itself refuses, a value that does not fit, or a template that goes over the limits: three
  // million steps, 64 MiB of text, 1000 levels.
  std::string render(const Json& variables) const;

 private:
  Body body_;
};

}  // namespace mote::text::jinja
