// The known name closest to one that was not found, for "did you mean".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mote {

// Fewest insertions, deletions and substitutions that turn `a` into `b`.
int edit_distance(std::string_view a, std::string_view b);

// The closest of `known` (the first at equal distance), or "" when none is within a third of the
// name's length plus one.
std::string nearest(std::string_view wanted, const std::vector<std::string>& known);

// ", did you mean 'x'?" or "".
std::string did_you_mean(std::string_view wanted, const std::vector<std::string>& known);

}  // namespace mote
