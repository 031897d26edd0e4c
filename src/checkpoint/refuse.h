// Refusing a file: its name, what field and what is wrong.
#pragma once

#include "base/check.h"

namespace mote::checkpoint {

[[noreturn]] inline void refuse_file(const std::string& file, const std::string& field,
                                     const std::string& what, ErrorKind kind = ErrorKind::file) {
  throw Error(kind, concat(file, ": ", what)).in(file).at(field);
}

}  // namespace mote::checkpoint
