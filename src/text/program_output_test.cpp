#include "text/program_output.h"

#include <gtest/gtest.h>

#include "base/check.h"

namespace mote::text {
namespace {

std::string refusal(const std::vector<std::string>& command) {
  try {
    program_output(command);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::system);
    return error.what();
  }
  return "ran";
}

TEST(ProgramOutput, IsWhatTheProgramPrintsWithItsArgumentsUntouched) {
  EXPECT_EQ(program_output({"printf", "%s|%s", "a b", "$HOME;*"}), "a b|$HOME;*");
  EXPECT_EQ(program_output({"true"}), "");
}

TEST(ProgramOutput, IsReadWhole) {
  EXPECT_EQ(program_output({"head", "-c", "1000000", "/dev/zero"}), std::string(1'000'000, '\0'));
}

TEST(ProgramOutput, GivesTheProgramNoInput) {
  EXPECT_EQ(program_output({"cat"}), "");
}

TEST(ProgramOutput, SaysWhyThereIsNone) {
  EXPECT_EQ(refusal({"mote-no-such-program"}),
            "cannot run mote-no-such-program: No such file or directory");
  EXPECT_EQ(refusal({"sh", "-c", "echo half; exit 3"}), "cannot run sh: it ended with status 3");
  EXPECT_EQ(refusal({"sh", "-c", "kill -9 $$"}), "cannot run sh: it was ended by signal 9");
}

TEST(ProgramExists, LooksOnPath) {
  EXPECT_TRUE(program_exists("sh"));
  EXPECT_FALSE(program_exists("mote-no-such-program"));
}

}  // namespace
}  // namespace mote::text
