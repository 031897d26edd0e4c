#include "text/gzip.h"

#include <zlib.h>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/process.h"

namespace mote::text {
namespace {

constexpr unsigned kReadBytes = 1u << 20;

struct CloseGzip {
  // A damaged file was reported by gzread; closing has nothing to add.
  void operator()(gzFile file) const { gzclose_r(file); }
};

}  // namespace

std::string read_gzip(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, CloseGzip> file(gzopen(path.c_str(), "rb"));
  if (!file)
    throw Error(ErrorKind::system,
                concat("cannot open ", path.string(), ": ", std::strerror(errno)))
        .in(path.string());
  std::string text;
  for (;;) {
    stop_if_interrupted();
    const std::size_t before = text.size();
    text.resize(before + kReadBytes);
    const int got = gzread(file.get(), text.data() + before, kReadBytes);
    text.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got > 0) continue;
    // gzread returns 0 both at the end and where a file was cut short; gzerror tells them apart.
    int code = Z_OK;
    const std::string problem = gzerror(file.get(), &code);
    if (code == Z_OK || code == Z_STREAM_END) return text;
    throw Error(ErrorKind::file, concat(path.string(), ": cannot decompress after ", text.size(),
                                        " bytes: ", problem, "; fetch or install it again"))
        .in(path.string());
  }
}

}  // namespace mote::text
