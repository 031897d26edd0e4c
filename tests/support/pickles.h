// Pickles and ZIP archives as torch.save writes them, and as it never would.
#pragma once

#include <zlib.h>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mote::test::pickles {

using namespace std::string_literals;

inline std::string number(std::uint64_t value, int bytes) {
  std::string all(static_cast<std::size_t>(bytes), 0);
  for (std::size_t i = 0; i < all.size() && i < 8; ++i)
    all[i] = static_cast<char>(value >> (8 * i));
  return all;
}

inline std::string text(const std::string& value) {
  return "X" + number(value.size(), 4) + value;
}

inline std::string integer(std::int64_t value) {
  return "\x8a\x08" + number(static_cast<std::uint64_t>(value), 8);
}

inline std::string tuple(const std::vector<std::int64_t>& values) {
  std::string all = "(";
  for (const std::int64_t value : values) all += integer(value);
  return all + "t";
}

// Of float32.
inline std::string storage(const std::string& key, std::int64_t numel) {
  return "(" + text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") +
         integer(numel) + "tQ";
}

inline std::string tensor(const std::string& key, std::int64_t numel, std::int64_t offset,
                          const std::vector<std::int64_t>& shape,
                          const std::vector<std::int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key, numel) + integer(offset) +
         tuple(shape) + tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

// A whole pickle of named tensors.
inline std::string state(const std::vector<std::pair<std::string, std::string>>& tensors) {
  std::string all = "\x80\x02}(";
  for (const auto& [name, description] : tensors) all += text(name) + description;
  return all + "u.";
}

// Lists inside each other.
inline std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), ']') +
         std::string(static_cast<std::size_t>(depth - 1), 'a') + ".";
}

// A record; what is set here stands in the central directory.
struct Record {
  Record(std::string name_, std::string bytes_)
      : name(std::move(name_)),
        bytes(std::move(bytes_)),
        local_name(name),
        size(bytes.size()),
        stored(bytes.size()),
        crc32(static_cast<std::uint32_t>(
            ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()))) {}
  std::string name, bytes, local_name;
  std::uint64_t size, stored;
  std::uint32_t crc32;
  int method = 0, flags = 0;
};

inline std::string zip(const std::vector<Record>& records) {
  std::string file, directory;
  for (const Record& r : records) {
    directory += "PK\x01\x02" + number(0, 4) + number(static_cast<std::uint64_t>(r.flags), 2) +
                 number(static_cast<std::uint64_t>(r.method), 2) + number(0, 4) +
                 number(r.crc32, 4) + number(r.stored, 4) + number(r.size, 4) +
                 number(r.name.size(), 2) + number(0, 12) + number(file.size(), 4) + r.name;
    file += "PK\x03\x04" + number(0, 22) + number(r.local_name.size(), 2) + number(0, 2) +
            r.local_name + r.bytes;
  }
  return file + directory + "PK\x05\x06" + number(0, 4) + number(records.size(), 2) +
         number(records.size(), 2) + number(directory.size(), 4) + number(file.size(), 4) +
         number(0, 2);
}

}  // namespace mote::test::pickles
