// Jinja's grammar, as far as the templates of language models use it: if, for (with else, if, break,
// continue), set (also of a block), macro, filter, generation; expressions with filters, tests,
// calls, slices and the inline if.
#pragma once

#include <string_view>

#include "text/jinja/tree.h"

namespace mote::text::jinja {

// Throws Error with the line.
Body parse(std::string_view source);

}  // namespace mote::text::jinja
