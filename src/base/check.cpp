#include "base/check.h"

namespace mote {

const char* name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::value:
      return "value";
    case ErrorKind::file:
      return "file";
    case ErrorKind::system:
      return "system";
    case ErrorKind::config:
      return "config";
    case ErrorKind::numeric:
      return "numeric";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::usage:
      return "usage";
    case ErrorKind::interrupted:
      return "interrupted";
  }
  return "unknown";
}

}  // namespace mote
