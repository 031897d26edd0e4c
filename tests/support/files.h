// Files for tests: a folder that goes away, and where the kept data and the reference fixtures are.
#pragma once

#include <stdlib.h>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "base/file.h"

namespace mote::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "mote-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }
  // Writes a file, with the folders above it, and returns its path.
  fs::path file(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    write_file(path_ / name, text);
    return path_ / name;
  }

 private:
  fs::path path_;
};

inline fs::path data_folder() {
  return fs::path(MOTE_SOURCE_DIR) / "tests" / "data";
}

// MOTE_FIXTURES, by default beside the project; tests skip aloud when it is not there.
inline fs::path fixtures_folder() {
  const char* set = std::getenv("MOTE_FIXTURES");
  const fs::path folder = set != nullptr ? set : "../shared/fixtures";
  return folder.is_absolute() ? folder : fs::path(MOTE_SOURCE_DIR) / folder;
}

}  // namespace mote::test
