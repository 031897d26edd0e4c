#include "checkpoint/gguf.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>

#include "base/memory_pages.h"
#include "checkpoint/refuse.h"
#include "kernels/packed/blocks/blocks.h"

namespace mote::checkpoint {
namespace {

constexpr std::uint64_t kMostTensors = 1'000'000, kMostKeys = 1'000'000;
constexpr std::uint64_t kLongestKey = 65'535;
constexpr std::uint64_t kAlignment = 32;

// Types that files have and this reader does not.
struct Unread {
  std::uint32_t id;
  const char* name;
};
constexpr Unread kUnread[] = {{4, "Q4_2"},
                              {5, "Q4_3"},
                              {9, "Q8_1"},
                              {15, "Q8_K"},
                              {16, "IQ2_XXS"},
                              {17, "IQ2_XS"},
                              {18, "IQ3_XXS"},
                              {19, "IQ1_S"},
                              {20, "IQ4_NL"},
                              {21, "IQ3_S"},
                              {22, "IQ2_S"},
                              {23, "IQ4_XS"},
                              {24, "I8"},
                              {25, "I16"},
                              {26, "I32"},
                              {27, "I64"},
                              {28, "F64"},
                              {29, "IQ1_M"},
                              {31, "Q4_0_4_4"},
                              {32, "Q4_0_4_8"},
                              {33, "Q4_0_8_8"},
                              {36, "IQ4_NL_4_4"},
                              {37, "IQ4_NL_4_8"},
                              {38, "IQ4_NL_8_8"},
                              {40, "NVFP4"},
                              {41, "Q1_0"},
                              {42, "Q2_0, of which there are two layouts"},
                              {142, "142, which programs use in two meanings"},
                              {143, "143, which programs use in two meanings"}};

std::string unread_name(std::uint32_t id) {
  for (const Unread& row : kUnread)
    if (row.id == id) return row.name;
  return concat(id, ", which no version of the format that mote knows has");
}

std::string known_names() {
  std::string all;
  for (const kernels::BlockType& type : kernels::block_types())
    all += concat(all.empty() ? "" : ", ", type.name);
  return all;
}

std::optional<Dtype> dtype_of(const kernels::BlockType& type) {
  for (std::size_t i = 0; i < kNumDtypes; ++i)
    if (std::string_view(type.name) == name(static_cast<Dtype>(i))) return static_cast<Dtype>(i);
  return std::nullopt;
}

// The file's bytes from the first on; every read is checked.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }
  [[noreturn]] void refuse(const std::string& field, const std::string& what,
                           ErrorKind kind = ErrorKind::file) const {
    refuse_file(file_, field, what, kind);
  }
  std::span<const std::byte> take(std::uint64_t size, const std::string& field) {
    if (size > left())
      refuse(field, concat(field, " takes ", size, " bytes from byte ", position_,
                           " on, the file has ", left(), "; it is cut short or damaged"));
    const auto taken = bytes_.subspan(position_, size);
    position_ += size;
    return taken;
  }
  template <class T>
  T number(const std::string& field) {
    T value;
    std::memcpy(&value, take(sizeof value, field).data(), sizeof value);
    return value;
  }
  std::string text(std::uint64_t most, const std::string& field) {
    const auto length = number<std::uint64_t>(field);
    if (length > most) refuse(field, concat(field, " has ", length, " bytes, over ", most));
    const auto taken = take(length, field);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  GgufType type(const std::string& field) {
    const auto id = number<std::uint32_t>(field);
    if (id >= kNumGgufTypes)
      refuse(field,
             concat(field, " has the type ", id, ", the format has 0 to ", kNumGgufTypes - 1));
    return static_cast<GgufType>(id);
  }

 private:
  const std::span<const std::byte> bytes_;
  const std::string& file_;
  std::uint64_t position_ = 0;
};

GgufValue read_value(Reader& reader, const std::string& key) {
  GgufValue value;
  value.type = reader.type(key);
  if (value.type == GgufType::array) {
    value.is_array = true;
    value.type = reader.type(key);
    if (value.type == GgufType::array) reader.refuse(key, concat(key, " is an array of arrays"));
    value.count = reader.number<std::uint64_t>(key);
  }
  if (value.count > reader.left() / bytes_of(value.type))
    reader.refuse(
        key, concat(key, " has ", value.count, " elements of ", name(value.type), ", the file has ",
                    reader.left(), " bytes left; it is cut short or damaged"));
  if (value.type != GgufType::text) {
    value.bytes = reader.take(value.count * bytes_of(value.type), key);
    if (value.type == GgufType::boolean)
      for (const std::byte b : value.bytes)
        if (b > std::byte{1})
          reader.refuse(key, concat(key, " has a bool that is ", std::to_integer<int>(b),
                                    ", neither 0 nor 1"));
    return value;
  }
  Reader ahead = reader;
  for (std::uint64_t i = 0; i < value.count; ++i) ahead.take(ahead.number<std::uint64_t>(key), key);
  value.bytes = reader.take(ahead.position() - reader.position(), key);
  return value;
}

GgufKeys read_keys(Reader& reader, std::uint64_t count, const std::string& file) {
  GgufKeys keys(file);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key = reader.text(kLongestKey, "a key");
    if (!keys.add(key, read_value(reader, key)))
      reader.refuse(key, concat("has the key '", key, "' twice"));
  }
  return keys;
}

struct Info {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0, offset = 0;
};

Info read_info(Reader& reader) {
  Info info;
  info.name = reader.text(kLongestGgufName, "a tensor's name");
  const std::string field = concat("tensor '", info.name, "'");
  const auto rank = reader.number<std::uint32_t>(field);
  if (rank > kMostGgufAxes)
    reader.refuse(info.name, concat(field, " has ", rank, " axes, over ", kMostGgufAxes));
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto size = reader.number<std::uint64_t>(field);
    if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      reader.refuse(info.name, concat(field, " has the size ", size, ", over 2^63 - 1"));
    info.shape.insert(info.shape.begin(), static_cast<std::int64_t>(size));
  }
  const auto id = reader.number<std::uint32_t>(field);
  const kernels::BlockType* type = kernels::find_block_type(id);
  if (type == nullptr)
    reader.refuse(
        info.name,
        concat(field, " is of type ", unread_name(id), "; these are read: ", known_names()),
        ErrorKind::unsupported);
  info.dtype = dtype_of(*type).value();
  const std::int64_t row = info.shape.empty() ? 1 : info.shape.back();
  if (row % type->elements != 0)
    reader.refuse(info.name, concat(field, " of ", type->name, " has rows of ", row,
                                    ", which blocks of ", type->elements, " do not fill"));
  const ByteCount count = byte_count(info.dtype, info.shape);
  if (!count.problem.empty())
    reader.refuse(info.name,
                  concat(field, " of shape ", in_brackets(info.shape), " ", count.problem));
  info.bytes = count.bytes;
  info.offset = reader.number<std::uint64_t>(field);
  return info;
}

void check_header(Reader& reader) {
  const auto magic = reader.take(4, "the magic 'GGUF'");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0)
    reader.refuse("", "does not begin with 'GGUF'; is it a GGUF file?");
  const auto version = reader.number<std::uint32_t>("version");
  if (version == 3) return;
  if (version == 0x03000000)
    reader.refuse("version", "is big-endian; only little-endian GGUF is read");
  reader.refuse("version", concat("is GGUF of version ", version,
                                  ", version 3 is read; convert it with llama.cpp's tools"));
}

std::uint64_t alignment_of(const GgufKeys& keys, const std::string& file) {
  const char* key = kGgufAlignment;
  if (!keys.has(key)) return kAlignment;
  const GgufValue& value = *keys.find(key);
  if (value.is_array || value.type != GgufType::u32)
    refuse_file(
        file, key,
        concat(key, " is ", value.is_array ? "an array of " : "", name(value.type), ", not u32"));
  const auto alignment = static_cast<std::uint64_t>(keys.integer(key));
  if (alignment == 0 || (alignment & (alignment - 1)) != 0)
    refuse_file(file, key, concat(key, " is ", alignment, ", no power of two"));
  return alignment;
}

std::uint64_t padded(std::uint64_t size, std::uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

GgufKeys parse_gguf_keys(std::span<const std::byte> bytes, std::uint64_t count,
                         const std::string& file) {
  Reader reader(bytes, file);
  return read_keys(reader, count, file);
}

Gguf parse_gguf(std::span<const std::byte> bytes, const std::string& file) {
  Reader reader(bytes, file);
  check_header(reader);
  const auto num_tensors = reader.number<std::uint64_t>("the number of tensors");
  const auto num_keys = reader.number<std::uint64_t>("the number of keys");
  if (num_tensors > kMostTensors || num_keys > kMostKeys)
    reader.refuse("", concat("says that it has ", num_tensors, " tensors and ", num_keys,
                             " keys; at most ", kMostTensors, " and ", kMostKeys, " are read"));
  Gguf contents{read_keys(reader, num_keys, file), {}, {}};
  const std::uint64_t alignment = alignment_of(contents.keys, file);

  std::vector<Info> infos;
  std::uint64_t end = 0, last = 0;
  for (std::uint64_t i = 0; i < num_tensors; ++i) {
    Info info = read_info(reader);
    if (info.offset != end)
      reader.refuse(info.name, concat("tensor '", info.name, "' starts at ", info.offset,
                                      ", the one before it ends at ", end, " with its padding"));
    last = info.offset + info.bytes;
    if (info.bytes > bytes.size() || last > bytes.size())
      reader.refuse(info.name, concat("tensor '", info.name, "' ends at byte ", last,
                                      " of the data, the file has ", bytes.size(),
                                      " bytes; it is cut short or damaged"));
    end = padded(last, alignment);
    if (!contents.tensors.emplace(info.name, Tensor{}).second)
      reader.refuse(info.name, concat("has the tensor '", info.name, "' twice"));
    infos.push_back(std::move(info));
  }
  const std::uint64_t start = padded(reader.position(), alignment);
  if (!infos.empty() && (start > bytes.size() || last > bytes.size() - start))
    reader.refuse(infos.back().name,
                  concat("tensor '", infos.back().name, "' ends at byte ", start + last,
                         ", the file at ", bytes.size(), "; it is cut short"));
  if (bytes.size() > start + end)
    reader.refuse("", concat("has ", bytes.size(), " bytes, its tensors end at ", start + end,
                             "; it is damaged, or something was added to it"));
  for (Info& info : infos) {
    contents.tensors[info.name] = {info.dtype, std::move(info.shape),
                                   bytes.subspan(start + info.offset, info.bytes)};
    contents.order.push_back(std::move(info.name));
  }
  return contents;
}

namespace {

fs::path part_path(const fs::path& any, std::int64_t number, std::int64_t count) {
  const std::optional<Part> part = part_of(any);
  if (!part || part->count != count)
    refuse_file(any.string(), "split.count",
                concat("is one of ", count, " parts by its keys; its name must be like ",
                       Part{"NAME", ".gguf", 0, static_cast<int>(count)}.of(1),
                       " for the others to be found"));
  return any.parent_path() / part->of(static_cast<int>(number));
}

}  // namespace

void GgufFile::open(const fs::path& path) {
  files_.push_back(std::make_unique<MappedFile>(path));
  use_huge_pages(files_.back()->bytes().data(), files_.back()->bytes().size());
  parts_.push_back(parse_gguf(files_.back()->bytes(), path.string()));
  // Vocabularies were read to be checked; they are several megabytes.
  const std::byte* const begin = files_.back()->bytes().data();
  std::size_t header = files_.back()->bytes().size();
  for (const auto& [name, tensor] : parts_.back().tensors)
    if (!tensor.bytes.empty())
      header = std::min(header, static_cast<std::size_t>(tensor.bytes.data() - begin));
  forget_pages(begin, header);
}

void GgufFile::check_part(std::size_t part, std::int64_t count) const {
  const GgufKeys& keys = parts_[part].keys;
  const std::string file = files_[part]->path().string();
  if (keys.integer("split.no") != static_cast<std::int64_t>(part))
    refuse_file(file, "split.no",
                concat("split.no is ", keys.integer("split.no"), ", its name says part ", part,
                       " (counted from 0)"));
  if (keys.integer("split.count") != count)
    refuse_file(
        file, "split.count",
        concat("split.count is ", keys.integer("split.count"), ", in another part it is ", count));
}

GgufFile::GgufFile(const fs::path& path) {
  constexpr std::int64_t kMostParts = 99'999;
  open(path);
  std::int64_t count = 1;
  if (keys().has("split.count")) count = keys().integer("split.count");
  if (count < 0 || count > kMostParts)
    refuse_file(path.string(), "split.count", concat("split.count is ", count));
  if (count > 1) {
    files_.clear();
    parts_.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const fs::path part = part_path(path, i + 1, count);
      if (!fs::exists(part))
        refuse_file(part.string(), "",
                    concat("is missing, part ", i + 1, " of the ", count, " that ", path.string(),
                           " names; download it"));
      open(part);
      check_part(static_cast<std::size_t>(i), count);
    }
  }
  for (std::size_t i = 0; i < parts_.size(); ++i)
    for (const auto& [tensor, value] : parts_[i].tensors)
      if (!tensors_.emplace(tensor, value).second)
        refuse_file(files_[i]->path().string(), tensor,
                    concat("has the tensor '", tensor, "', which a part before it has too"));
  if (count > 1 && keys().has("split.tensors.count") &&
      keys().integer("split.tensors.count") != static_cast<std::int64_t>(tensors_.size()))
    refuse_file(this->path().string(), "split.tensors.count",
                concat("split.tensors.count is ", keys().integer("split.tensors.count"),
                       ", the parts have ", tensors_.size(), " tensors"));
}

std::vector<fs::path> GgufFile::files() const {
  std::vector<fs::path> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

}  // namespace mote::checkpoint
