#include "checkpoint/gguf_writer.h"

#include "checkpoint/gguf.h"
#include "kernels/packed/blocks/blocks.h"

namespace mote::checkpoint {
namespace {

template <class T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& bytes, std::string_view text) {
  put(bytes, static_cast<std::uint64_t>(text.size()));
  bytes += text;
}

std::string header_for(const GgufKeyList& keys, const std::vector<TensorSpec>& specs) {
  std::string bytes = "GGUF";
  put(bytes, std::uint32_t{3});
  put(bytes, static_cast<std::uint64_t>(specs.size()));
  put(bytes, keys.size());
  bytes += keys.bytes();
  std::uint64_t offset = 0;
  std::set<std::string> names;
  for (const TensorSpec& spec : specs) {
    const kernels::BlockType* type = kernels::find_block_type(name(spec.dtype));
    MOTE_CHECK(type != nullptr, "GGUF: tensor '", spec.name, "' is ", name(spec.dtype),
               ", which mote does not write there; convert it");
    MOTE_CHECK(spec.name.size() <= kLongestGgufName, "GGUF: the name '", spec.name, "' has ",
               spec.name.size(), " bytes, over ", kLongestGgufName);
    MOTE_CHECK(names.insert(spec.name).second, "GGUF: tensor '", spec.name, "' is listed twice");
    MOTE_CHECK(spec.shape.size() <= kMostGgufAxes, "GGUF: tensor '", spec.name, "' has ",
               spec.shape.size(), " axes, over ", kMostGgufAxes);
    const std::int64_t row = spec.shape.empty() ? 1 : spec.shape.back();
    MOTE_CHECK(row % type->elements == 0, "GGUF: tensor '", spec.name, "' of ", type->name,
               " has rows of ", row, ", which blocks of ", type->elements, " do not fill");
    put_text(bytes, spec.name);
    put(bytes, static_cast<std::uint32_t>(spec.shape.size()));
    for (auto size = spec.shape.rbegin(); size != spec.shape.rend(); ++size) put(bytes, *size);
    put(bytes, type->id);
    put(bytes, offset);
    offset += num_bytes(spec);
    offset = (offset + keys.alignment() - 1) / keys.alignment() * keys.alignment();
  }
  return bytes;
}

}  // namespace

void GgufKeyList::add_text(const std::string& key, std::string_view text) {
  std::string bytes;
  put_text(bytes, text);
  add(key, {GgufType::text, false, 1, std::as_bytes(std::span(bytes))});
}

void GgufKeyList::add_texts(const std::string& key, const std::vector<std::string_view>& texts) {
  std::string bytes;
  for (const std::string_view text : texts) put_text(bytes, text);
  add(key, {GgufType::text, true, texts.size(), std::as_bytes(std::span(bytes))});
}

void GgufKeyList::add(const std::string& key, const GgufValue& value) {
  MOTE_CHECK(keys_.insert(key).second, "GGUF: the key '", key, "' is there already");
  if (key == kGgufAlignment) {
    MOTE_CHECK(value.type == GgufType::u32 && !value.is_array, "GGUF: ", key, " is no u32");
    std::uint32_t alignment;
    std::memcpy(&alignment, value.bytes.data(), sizeof alignment);
    MOTE_CHECK(alignment != 0 && (alignment & (alignment - 1)) == 0, "GGUF: ", key, " is ",
               alignment, ", no power of two");
    alignment_ = alignment;
  }
  put_text(bytes_, key);
  if (value.is_array) put(bytes_, static_cast<std::uint32_t>(GgufType::array));
  put(bytes_, static_cast<std::uint32_t>(value.type));
  if (value.is_array) put(bytes_, value.count);
  bytes_.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

GgufWriter::GgufWriter(const fs::path& path, const GgufKeyList& keys,
                       const std::vector<TensorSpec>& specs)
    : writer_(path, header_for(keys, specs), specs, keys.alignment()) {}

}  // namespace mote::checkpoint
