#include "checkpoint/zip.h"

#include <zlib.h>
#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "checkpoint/refuse.h"

namespace mote::checkpoint {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50,
                        kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr std::uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                        kLocatorBytes = 20, kLongestComment = 65'535, kMostRecords = 2'000'000;

class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::uint64_t size() const { return bytes_.size(); }
  [[noreturn]] void refuse(const std::string& record, const std::string& what) const {
    refuse_file(file_, record, record.empty() ? what : concat("record '", record, "' ", what));
  }
  std::span<const std::byte> at(std::uint64_t begin, std::uint64_t size, const char* what) const {
    if (begin > bytes_.size() || size > bytes_.size() - begin)
      refuse("", concat("its ", what, " of ", size, " bytes at ", begin, " ends after the file's ",
                        bytes_.size(), " bytes; it is cut short or damaged"));
    return bytes_.subspan(begin, size);
  }
  template <class T>
  T number(std::uint64_t begin, const char* what) const {
    T value;
    std::memcpy(&value, at(begin, sizeof value, what).data(), sizeof value);
    return value;
  }
  std::string text(std::uint64_t begin, std::uint64_t size, const char* what) const {
    const auto taken = at(begin, size, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

 private:
  const std::span<const std::byte> bytes_;
  const std::string& file_;
};

struct Directory {
  std::uint64_t records = 0, begin = 0, bytes = 0;
};

std::uint64_t find_end(const Bytes& in) {
  if (in.size() >= kEndBytes)
    for (std::uint64_t comment = 0; comment <= std::min(kLongestComment, in.size() - kEndBytes);
         ++comment) {
      const std::uint64_t at = in.size() - kEndBytes - comment;
      if (in.number<std::uint32_t>(at, "end") == kEnd &&
          in.number<std::uint16_t>(at + 20, "end") == comment)
        return at;
    }
  in.refuse("", "begins like a ZIP archive and has no central directory; it is cut short");
}

Directory find_directory(const Bytes& in) {
  const char* what = "central directory's end";
  const std::uint64_t end = find_end(in);
  Directory found{in.number<std::uint16_t>(end + 10, what),
                  in.number<std::uint32_t>(end + 16, what),
                  in.number<std::uint32_t>(end + 12, what)};
  std::uint64_t limit = end;
  if (end >= kLocatorBytes && in.number<std::uint32_t>(end - kLocatorBytes, what) == kLocator64) {
    const auto at = in.number<std::uint64_t>(end - kLocatorBytes + 8, what);
    in.at(at, kEnd64Bytes, what);
    if (in.number<std::uint32_t>(at, what) != kEnd64)
      in.refuse("", concat("has no ZIP64 end at ", at, ", where it says; it is damaged"));
    found = {in.number<std::uint64_t>(at + 32, what), in.number<std::uint64_t>(at + 48, what),
             in.number<std::uint64_t>(at + 40, what)};
    limit = at;
  }
  if (found.begin > limit || found.bytes > limit - found.begin)
    in.refuse("", concat("its central directory of ", found.bytes, " bytes at ", found.begin,
                         " does not end before ", limit));
  if (found.records > std::min(kMostRecords, found.bytes / kCentralBytes))
    in.refuse("", concat("says that it has ", found.records, " records, its directory has ",
                         found.bytes, " bytes"));
  return found;
}

// Of a record in the central directory at `at`.
struct Entry {
  std::string name;
  std::uint64_t size = 0, stored = 0, local = 0, next = 0;
  std::uint32_t crc32 = 0;
  bool deflated = false;
};

// The extra field 1 has the numbers of 64 bits, of those that are all ones in 32.
void read_zip64(const Bytes& in, std::uint64_t at, std::uint64_t bytes, Entry& entry) {
  constexpr std::uint64_t kOnes = 0xffffffff;
  const std::uint64_t end = at + bytes;
  while (end - at >= 4) {
    const auto id = in.number<std::uint16_t>(at, "extra field");
    const std::uint64_t size = in.number<std::uint16_t>(at + 2, "extra field");
    at += 4;
    if (size > end - at) in.refuse(entry.name, "has an extra field that leaves its header");
    if (id == 1) {
      std::uint64_t here = at;
      for (std::uint64_t* number : {&entry.size, &entry.stored, &entry.local}) {
        if (*number != kOnes) continue;
        if (at + size - here < 8) in.refuse(entry.name, "lacks a size of 64 bits");
        *number = in.number<std::uint64_t>(here, "extra field");
        here += 8;
      }
    }
    at += size;
  }
}

constexpr int kDeflated = 8;

Entry read_entry(const Bytes& in, std::uint64_t at, std::uint64_t end, ZipMethods methods) {
  const char* what = "central directory";
  if (end - at < kCentralBytes || in.number<std::uint32_t>(at, what) != kCentral)
    in.refuse("", concat("has no record of its central directory at ", at, "; it is damaged"));
  Entry entry;
  const auto flags = in.number<std::uint16_t>(at + 8, what);
  const auto method = in.number<std::uint16_t>(at + 10, what);
  entry.crc32 = in.number<std::uint32_t>(at + 16, what);
  entry.stored = in.number<std::uint32_t>(at + 20, what);
  entry.size = in.number<std::uint32_t>(at + 24, what);
  const std::uint64_t name = in.number<std::uint16_t>(at + 28, what);
  const std::uint64_t extra = in.number<std::uint16_t>(at + 30, what);
  const std::uint64_t comment = in.number<std::uint16_t>(at + 32, what);
  entry.local = in.number<std::uint32_t>(at + 42, what);
  if (name + extra + comment > end - at - kCentralBytes)
    in.refuse("", concat("has a record at ", at, " that leaves its central directory"));
  entry.name = in.text(at + kCentralBytes, name, what);
  read_zip64(in, at + kCentralBytes + name, extra, entry);
  entry.next = at + kCentralBytes + name + extra + comment;
  entry.deflated = method == kDeflated && methods == ZipMethods::deflated_too;
  if (method != 0 && !entry.deflated)
    in.refuse(entry.name, concat("is compressed (method ", method,
                                 methods == ZipMethods::stored
                                     ? "), which torch.save never does; unpack it and save it again"
                                     : "); stored and deflated records are read"));
  if ((flags & 1) != 0) in.refuse(entry.name, "is encrypted");
  if (!entry.deflated && entry.size != entry.stored)
    in.refuse(entry.name, concat("of ", entry.size, " bytes is stored in ", entry.stored));
  return entry;
}

// Where the record's bytes start, behind its local header.
std::uint64_t data_begin(const Bytes& in, const Entry& entry) {
  const char* what = "local header";
  in.at(entry.local, kLocalBytes, what);
  if (in.number<std::uint32_t>(entry.local, what) != kLocal)
    in.refuse(entry.name, concat("has no header at ", entry.local, ", where the directory says"));
  const std::uint64_t name = in.number<std::uint16_t>(entry.local + 26, what);
  const std::uint64_t extra = in.number<std::uint16_t>(entry.local + 28, what);
  if (in.text(entry.local + kLocalBytes, name, what) != entry.name)
    in.refuse(entry.name, "has another name in its own header");
  return entry.local + kLocalBytes + name + extra;
}

}  // namespace

std::map<std::string, ZipRecord> parse_zip(std::span<const std::byte> bytes,
                                           const std::string& file, ZipMethods methods) {
  const Bytes in(bytes, file);
  const Directory directory = find_directory(in);
  std::map<std::string, ZipRecord> records;
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>> ranges;
  std::uint64_t at = directory.begin;
  for (std::uint64_t i = 0; i < directory.records; ++i) {
    const Entry entry = read_entry(in, at, directory.begin + directory.bytes, methods);
    at = entry.next;
    const std::uint64_t begin = data_begin(in, entry);
    if (begin > directory.begin || entry.stored > directory.begin - begin)
      in.refuse(entry.name,
                concat("of ", entry.stored, " bytes at ", begin,
                       " does not end before the central directory at ", directory.begin));
    if (!records
             .emplace(entry.name, ZipRecord{bytes.subspan(begin, entry.stored), entry.crc32,
                                            entry.size, entry.deflated})
             .second)
      in.refuse(entry.name, "comes twice");
    ranges.emplace_back(entry.local, begin + entry.stored, entry.name);
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (std::get<0>(ranges[i]) < std::get<1>(ranges[i - 1]))
      in.refuse(std::get<2>(ranges[i]),
                concat("begins at ", std::get<0>(ranges[i]), ", '", std::get<2>(ranges[i - 1]),
                       "' before it ends at ", std::get<1>(ranges[i - 1]), ": they overlap"));
  return records;
}

namespace {

// What zlib makes of deflated bytes, without a header.
class Inflater {
 public:
  explicit Inflater(std::span<const std::byte> bytes) : left_(bytes) {
    ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK;
  }
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // More of the bytes; none at the end. False: they are damaged.
  bool next(std::span<std::byte> room, std::span<const std::byte>& got) {
    stream_.next_out = reinterpret_cast<Bytef*>(room.data());
    stream_.avail_out = static_cast<uInt>(room.size());
    while (ready_ && !ended_ && stream_.avail_out > 0) {
      if (stream_.avail_in == 0) {
        constexpr std::size_t kMost = 1 << 30;
        const auto part = left_.first(std::min(kMost, left_.size()));
        left_ = left_.subspan(part.size());
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(part.data()));
        stream_.avail_in = static_cast<uInt>(part.size());
      }
      const int status = inflate(&stream_, Z_NO_FLUSH);
      ended_ = status == Z_STREAM_END;
      if (status != Z_OK && !ended_) return false;
    }
    got = room.first(room.size() - stream_.avail_out);
    return ready_ && (!ended_ || (stream_.avail_in == 0 && left_.empty()));
  }

 private:
  std::span<const std::byte> left_;
  z_stream stream_{};
  bool ready_ = false, ended_ = false;
};

}  // namespace

void read_record(const ZipRecord& record, const std::string& name, const std::string& file,
                 const std::function<void(std::span<const std::byte>)>& take) {
  if (!record.deflated) {
    check_crc(record, name, file);
    return take(record.bytes);
  }
  std::vector<std::byte> room(std::size_t{1} << 20);
  Inflater inflater(record.bytes);
  std::uint64_t size = 0;
  uLong crc = crc32_z(0, nullptr, 0);
  for (;;) {
    std::span<const std::byte> got;
    if (!inflater.next(room, got))
      refuse_file(file, name, concat("record '", name, "' cannot be unpacked; it is damaged"));
    if (got.empty()) break;
    size += got.size();
    if (size > record.size) break;
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(got.data()), got.size());
    take(got);
  }
  if (size != record.size)
    refuse_file(file, name,
                concat("record '", name, "' has ", size > record.size ? "over " : "",
                       std::min(size, record.size), " bytes, the archive says ", record.size,
                       "; it is damaged"));
  if (crc != record.crc32)
    refuse_file(
        file, name,
        concat("record '", name, "' has another CRC-32 than the archive says; ", "it is damaged"));
}

void check_crc(const ZipRecord& record, const std::string& name, const std::string& file) {
  const auto* data = reinterpret_cast<const Bytef*>(record.bytes.data());
  const auto found = static_cast<std::uint32_t>(crc32_z(0, data, record.bytes.size()));
  if (found != record.crc32)
    refuse_file(
        file, name,
        concat("record '", name, "' has the CRC-32 ", std::hex, found, ", the archive says ",
               record.crc32, "; it is damaged, or was saved without checksums"));
}

}  // namespace mote::checkpoint
