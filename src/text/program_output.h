// What another program prints.
#pragma once

#include <string>
#include <vector>

namespace mote::text {

// Runs `command` (found on PATH, no shell) with no input and returns its standard output. Throws
// Error(system) when it cannot be started, is killed or ends with a status other than 0.
std::string program_output(const std::vector<std::string>& command);

// Whether PATH has a program of this name.
bool program_exists(const std::string& name);

}  // namespace mote::text
