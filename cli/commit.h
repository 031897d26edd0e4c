// The commit that was built, with "-dirty" where files differed from it; "unknown" outside git. Its
// source is written at every build (cmake/commit.cmake).
#pragma once

namespace mote::cli {

const char* commit();

}  // namespace mote::cli
