// Whether a message says something: the failure shows both.
#pragma once

#include <gtest/gtest.h>
#include <string>

namespace mote::test {

inline ::testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "expected: " << part << "\nsaid: " << text;
}

}  // namespace mote::test
