// Names of parameters, ours and a family's: a table read in both directions.
#pragma once

#include <span>
#include <string>

namespace mote::checkpoint {

// `#` stands for a number, the same in both.
struct NameRule {
  const char* ours;
  const char* theirs;
};

// The name that the first rule which fits gives; empty: none fits.
std::string their_name(std::span<const NameRule> rules, const std::string& ours);
std::string our_name(std::span<const NameRule> rules, const std::string& theirs);

}  // namespace mote::checkpoint
