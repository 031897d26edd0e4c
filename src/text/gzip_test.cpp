#include "text/gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/check.h"
#include "base/counted.h"
#include "tests/support/files.h"

namespace mote::text {
namespace {

// Text that does not shrink to nothing, longer than one read.
std::string long_text() {
  std::string text;
  for (unsigned i = 0; text.size() < 3'000'000; ++i)
    text += std::to_string(i * 2654435761u) + (i % 7 == 0 ? "\n" : " ");
  return text;
}

std::string compressed(const test::TemporaryFolder& folder, const std::string& text) {
  const fs::path path = folder.path() / "made.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return read_file(path);
}

TEST(ReadGzip, GivesWhatWasCompressed) {
  const test::TemporaryFolder folder;
  const std::string text = long_text();
  EXPECT_EQ(read_gzip(folder.file("x.gz", compressed(folder, text))), text);
  EXPECT_EQ(read_gzip(folder.file("empty.gz", compressed(folder, ""))), "");
}

TEST(ReadGzip, ReadsAFileThatIsNotCompressedAsItIs) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(read_gzip(folder.file("plain", "just text")), "just text");
}

TEST(ReadGzip, JoinsWhatWasCompressedInParts) {
  const test::TemporaryFolder folder;
  const std::string one = compressed(folder, "one "), two = compressed(folder, long_text());
  EXPECT_EQ(read_gzip(folder.file("x.gz", one + two + one)), "one " + long_text() + "one ");
  EXPECT_EQ(read_gzip(folder.file("x.gz", one + std::string(512, '\0'))), "one ")
      << "padding of a tape";
}

TEST(ReadGzip, RefusesWhatFollowsAndIsNotGzip) {
  const test::TemporaryFolder folder;
  const std::string one = compressed(folder, "one ");
  for (const std::string& behind :
       {std::string("garbage"), std::string("\0\0x", 3), std::string("\x1f"), one.substr(1)}) {
    const fs::path path = folder.file("x.gz", one + behind);
    try {
      read_gzip(path);
      ADD_FAILURE() << "accepted " << behind.size() << " bytes behind";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file);
      EXPECT_EQ(error.file(), path.string());
      EXPECT_NE(std::string(error.what())
                    .find(concat("up to byte ", one.size(), "; what follows, ",
                                 counted(behind.size(), "byte"))),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(ReadGzip, RefusesAFileCutShortOrDamaged) {
  const test::TemporaryFolder folder;
  const std::string whole = compressed(folder, long_text());
  std::string damaged = whole;
  damaged[damaged.size() / 2] ^= 0x55;
  for (const std::string& bytes :
       {whole.substr(0, 5), whole.substr(0, whole.size() / 2), whole.substr(0, whole.size() - 4),
        compressed(folder, "one ") + whole.substr(0, whole.size() - 1), damaged}) {
    const fs::path path = folder.file("x.gz", bytes);
    try {
      read_gzip(path);
      ADD_FAILURE() << "accepted " << bytes.size() << " bytes";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file);
      EXPECT_EQ(error.file(), path.string());
    }
  }
}

TEST(ReadGzip, NamesAFileThatIsMissing) {
  try {
    read_gzip("/nowhere/x.gz");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::system);
    EXPECT_EQ(error.file(), "/nowhere/x.gz");
  }
}

}  // namespace
}  // namespace mote::text
