#pragma once

namespace mote {

// Of this build: "0.1.0".
const char* version();

}  // namespace mote
