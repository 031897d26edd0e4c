#include "text/gzip.h"

#include <zlib.h>
#include <algorithm>
#include <new>

#include "base/check.h"
#include "base/counted.h"
#include "base/file.h"
#include "base/process.h"

namespace mote::text {
namespace {

constexpr std::size_t kStepBytes = 1u << 20;

using Bytes = std::span<const std::byte>;

class Inflater {
 public:
  Inflater() {
    constexpr int kGzipOnly = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Appends what the next bytes stand for, and removes those that were read. zlib's code.
  int step(Bytes& bytes, std::string& text) {
    const std::size_t before = text.size(), given = std::min(bytes.size(), kStepBytes);
    text.resize(before + kStepBytes);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(given);
    stream_.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    stream_.avail_out = kStepBytes;
    const int code = inflate(&stream_, Z_NO_FLUSH);
    bytes = bytes.subspan(given - stream_.avail_in);
    text.resize(text.size() - stream_.avail_out);
    return code;
  }
  void begin_next() { inflateReset(&stream_); }
  std::string problem() const { return stream_.msg ? stream_.msg : "unknown method"; }

 private:
  z_stream stream_{};
};

bool is_padding(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

bool is_gzip(Bytes bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

std::string read_gzip(const std::filesystem::path& path) {
  const MappedFile file(path);
  Bytes left = file.bytes();
  if (!is_gzip(left)) return {reinterpret_cast<const char*>(left.data()), left.size()};
  std::string text;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::file, concat(path.string(), ": ", what, "; fetch or make it again"))
        .in(path.string());
  };
  for (Inflater inflater;;) {
    stop_if_interrupted();
    const int code = inflater.step(left, text);
    if (code == Z_STREAM_END) {
      if (is_padding(left)) return text;
      if (!is_gzip(left))
        refuse(concat("is gzip up to byte ", file.bytes().size() - left.size(), "; what follows, ",
                      counted(left.size(), "byte"), ", is not"));
      inflater.begin_next();
    } else if (code == Z_BUF_ERROR) {  // no room is never the cause
      refuse(concat("is cut short: its ", file.bytes().size(),
                    " bytes end inside gzip data, after ", text.size(), " decompressed ones"));
    } else if (code == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (code != Z_OK) {
      refuse(concat("cannot be decompressed after ", text.size(), " bytes: ", inflater.problem()));
    }
  }
}

}  // namespace mote::text
