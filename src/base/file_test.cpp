#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "base/file_lock.h"
#include "tests/support/files.h"

namespace mote {
namespace {

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

template <class Call>
Error refusal(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "accepted";
  return Error(ErrorKind::value, "");
}

TEST(FileWriter, ShowsNothingBeforeCommitAndLeavesNothingWithout) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.file("a.txt", "old");
  {
    FileWriter writer(path);
    writer.write("new");
    EXPECT_EQ(read_file(path), "old");
    EXPECT_EQ(names_in(folder.path()).size(), 2u);
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.txt"});
  FileWriter writer(path);
  writer.write("new");
  writer.commit();
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.txt"});
}

TEST(FileWriter, WritesMoreThanItsBufferAndPads) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "big";
  const std::string text(3000001, 'x');
  FileWriter writer(path);
  writer.write("y");
  writer.write(text);
  writer.pad_to(64);
  EXPECT_EQ(writer.position() % 64, 0u);
  writer.write("z");
  writer.commit();
  const std::string whole = read_file(path);
  EXPECT_EQ(whole.size(), writer.position());
  EXPECT_EQ(whole.substr(0, 3000002), "y" + text);
  EXPECT_EQ(whole.find_first_not_of('\0', 3000002), whole.size() - 1);
}

TEST(FileWriter, NamesTheFileThatCannotBeWritten) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "missing" / "a.txt";
  const Error error = refusal([&] { write_file(path, "x"); });
  EXPECT_EQ(error.kind(), ErrorKind::system);
  EXPECT_EQ(error.file(), path.string());
}

TEST(MappedFile, HoldsTheBytesOfTheFile) {
  const test::TemporaryFolder folder;
  const MappedFile mapped(folder.file("a", "abc"));
  ASSERT_EQ(mapped.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(mapped.bytes()[2]), 'c');
  EXPECT_TRUE(MappedFile(folder.file("empty", "")).bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const test::TemporaryFolder folder;
  const Error missing = refusal([&] { MappedFile(folder.path() / "missing"); });
  EXPECT_EQ(missing.kind(), ErrorKind::system);
  EXPECT_EQ(missing.file(), (folder.path() / "missing").string());
  EXPECT_NE(std::string(refusal([&] { MappedFile(folder.path()); }).what()).find("regular file"),
            std::string::npos);
  EXPECT_EQ(refusal([&] { read_file(folder.path()); }).kind(), ErrorKind::system);
}

TEST(StagedFolder, AppearsWholeOrNotAtAll) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "out";
  {
    const StagedFolder staged(path);
    write_file(staged.path() / "a", "1");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  StagedFolder staged(path);
  write_file(staged.path() / "a", "1");
  staged.commit();
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"out"});
  EXPECT_EQ(read_file(path / "a"), "1");
}

TEST(StagedFolder, TakesAnyWayToWriteAPath) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "here");
  const fs::path before = fs::current_path();
  for (const fs::path& path : {folder.path() / "a" / "", folder.path() / "b" / ".",
                               folder.path() / "c" / "..", fs::path("."), fs::path("d")}) {
    fs::current_path(folder.path() / "here");
    if (path == folder.path() / "c" / "..") {
      EXPECT_THROW(StagedFolder{path}, Error) << "the folder itself is not empty";
      continue;
    }
    StagedFolder staged(path);
    write_file(staged.path() / "file", "text");
    staged.commit();
    fs::current_path(folder.path());
  }
  for (const char* name : {"a", "b", "here"})
    EXPECT_EQ(read_file(folder.path() / name / "file"), "text") << name;
  fs::current_path(before);
}

TEST(StagedFolder, LeavesNoFolderAboveItWhenItIsDropped) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "old");
  { const StagedFolder dropped(folder.path() / "old" / "new" / "deeper" / "out"); }
  EXPECT_TRUE(fs::is_empty(folder.path() / "old"));
}

TEST(ReadFile, RefusesWhatCannotBeRead) {
  EXPECT_THROW(read_file("/proc/self/mem"), Error) << "opens, but its first page cannot be read";
  EXPECT_THROW(read_file("/"), Error);
}

TEST(ReadFile, HasALimitAndReadsPipes) {
  EXPECT_EQ(refusal([] { read_file("/dev/zero", 1000); }).file(), "/dev/zero");
  const test::TemporaryFolder folder;
  const fs::path path = folder.file("a", "1234");
  EXPECT_EQ(read_file(path, 4), "1234");
  EXPECT_EQ(refusal([&] { read_file(path, 3); }).kind(), ErrorKind::file);
  const fs::path pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << "through a pipe"; });
  EXPECT_EQ(read_file(pipe), "through a pipe");
  writer.join();
  EXPECT_THROW(MappedFile{pipe}, Error) << "and nobody writes to it";
}

TEST(StagedFolder, TakesTheNameOfAnEmptyFolderOnly) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "empty");
  StagedFolder staged(folder.path() / "empty");
  staged.commit();
  folder.file("full/note", "mine");
  EXPECT_EQ(refusal([&] { StagedFolder(folder.path() / "full"); }).file(),
            (folder.path() / "full").string());
  EXPECT_EQ(refusal([&] { check_folder_is_free(folder.path() / "full" / "note"); }).kind(),
            ErrorKind::system);
  EXPECT_EQ(read_file(folder.path() / "full" / "note"), "mine");
}

TEST(LostFile, EndsTheProcessByTheCallersWordsAndNamesTheFile) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.file("shrinks", std::string(100'000, 'a'));
  const MappedFile other(folder.file("other", "b")), file(path);
  const auto read_what_is_gone = [&] {
    on_lost_file([](const char* lost) {
      std::fprintf(stderr, "lost %s", lost);
      std::_Exit(7);
    });
    fs::resize_file(path, 0);
    const volatile std::byte* last = &file.bytes().back();
    static_cast<void>(*last);
  };
  EXPECT_EXIT(read_what_is_gone(), ::testing::ExitedWithCode(7), "lost " + path.string());
}

TEST(Leftovers, AreTemporariesOfOurNamesAndNothingElse) {
  const test::TemporaryFolder folder;
  folder.file(".a.tmp-123", "");
  folder.file(".a.lock", "");
  folder.file(".b.tmp-9/inside", "");
  const std::vector<std::string> kept = {
      ".a.tmp", ".a.tmp-", ".a.tmp-12x", ".notes.tmp-2024", ".secrets.tmp-7", "a", "a.tmp-123"};
  for (const std::string& name : kept) folder.file(name, "");
  remove_leftovers(folder.path(),
                   [](const std::string& name) { return name == "a" || name == "b"; });
  EXPECT_EQ(names_in(folder.path()), kept);
}

TEST(StagedFolder, RemovesWhatAKilledProcessLeftOfTheSameTarget) {
  const test::TemporaryFolder folder;
  folder.file(".out.tmp-123456/tensors", "half");
  folder.file(".out.lock", "process 123456");
  folder.file(".other.tmp-123456/tensors", "half");
  StagedFolder(folder.path() / "out").commit();
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{".other.tmp-123456", "out"}));
}

TEST(StagedFolder, IsWrittenByOneProcessThatTheErrorNames) {
  const test::TemporaryFolder folder;
  StagedFolder first(folder.path() / "out");
  const Error error = refusal([&] { StagedFolder(folder.path() / "out"); });
  EXPECT_EQ(error.file(), (folder.path() / "out").string());
  const std::string message = error.what();
  EXPECT_NE(message.find(concat("process ", getpid(), " on ")), std::string::npos) << message;
  EXPECT_NE(message.find(" since 20"), std::string::npos) << message;
  write_file(first.path() / "a", "1");
  first.commit();
  EXPECT_EQ(read_file(folder.path() / "out" / "a"), "1");
}

TEST(StagedFolder, AppearsWhereALinkPoints) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "disk");
  fs::create_directory_symlink("disk/there", folder.path() / "link");
  {
    StagedFolder staged(folder.path() / "link");
    write_file(staged.path() / "a", "1");
    staged.commit();
  }
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_EQ(read_file(folder.path() / "disk" / "there" / "a"), "1");
  EXPECT_EQ(names_in(folder.path() / "disk"), std::vector<std::string>{"there"});
  fs::create_directory_symlink("loop", folder.path() / "loop");
  EXPECT_EQ(refusal([&] { StagedFolder(folder.path() / "loop"); }).kind(), ErrorKind::system);
}

TEST(FileLock, OfADeadProcessDoesNotBlock) {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path() / "lock";
  const pid_t child = fork();
  if (child == 0) {
    const FileLock held(file, "target");
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && fs::exists(file));
  { const FileLock taken_over(file, "target"); }
  EXPECT_FALSE(fs::exists(file));
}

TEST(CreateFolder, NamesWhatIsInTheWay) {
  const test::TemporaryFolder folder;
  create_folder(folder.path() / "a" / "b");
  EXPECT_TRUE(fs::is_directory(folder.path() / "a" / "b"));
  folder.file("file", "");
  EXPECT_EQ(refusal([&] { create_folder(folder.path() / "file" / "b"); }).file(),
            (folder.path() / "file" / "b").string());
}

TEST(BytesOnDisk, CountPlainFilesBelow) {
  const test::TemporaryFolder folder;
  folder.file("a", "123");
  folder.file("b/c", "45");
  EXPECT_EQ(bytes_on_disk(folder.path()), 5u);
  EXPECT_EQ(bytes_on_disk(folder.path() / "a"), 3u);
}

TEST(FormatBytes, HasThreeDigitsAndDecimalUnits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1500), "1.50 kB");
  EXPECT_EQ(format_bytes(93e6), "93.0 MB");
  EXPECT_EQ(format_bytes(123e9), "123 GB");
}

}  // namespace
}  // namespace mote
