// The bytes of GGUF files, as they should be and as they should not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mote::test::ggufs {

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
inline std::string raw_text(const std::string& text) {
  return raw(std::uint64_t{text.size()}) + text;
}
inline std::string raw_key(const std::string& key, std::uint32_t type, const std::string& value) {
  return raw_text(key) + raw(type) + value;
}
inline std::string raw_tensor(const std::string& name, const std::vector<std::uint64_t>& dims,
                              std::uint32_t type, std::uint64_t offset) {
  std::string all = raw_text(name) + raw(static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t size : dims) all += raw(size);
  return all + raw(type) + raw(offset);
}
inline std::string raw_header(std::uint64_t tensors, std::uint64_t keys,
                              std::uint32_t version = 3) {
  return "GGUF" + raw(version) + raw(tensors) + raw(keys);
}
// Keys, tensors, padding to 32 and data.
inline std::string raw_file(const std::vector<std::string>& keys,
                            const std::vector<std::string>& tensors, std::size_t data) {
  std::string all = raw_header(tensors.size(), keys.size());
  for (const std::string& key : keys) all += key;
  for (const std::string& tensor : tensors) all += tensor;
  all.resize((all.size() + 31) / 32 * 32);
  return all + std::string(data, 'x');
}

}  // namespace mote::test::ggufs
