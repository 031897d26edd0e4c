// What the processor offers and the operating system has switched on.
#pragma once

#include <string_view>

namespace mote::kernels {

// Whether a feature, by the name that its compiler flag has after "-m", can be used by this
// process: the processor reports it, and the system keeps its registers (XCR0), which for tiles it
// is asked to do here. False for a name that is not known.
bool has_feature(std::string_view name);

}  // namespace mote::kernels
