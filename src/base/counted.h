// A number of things, for messages.
#pragma once

#include "base/check.h"

namespace mote {

// "1 token", "2 tokens".
template <class Count>
std::string counted(Count count, const char* thing) {
  return concat(count, " ", thing, count == 1 ? "" : "s");
}

}  // namespace mote
