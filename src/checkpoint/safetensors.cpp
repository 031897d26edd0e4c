#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/json_text.h"
#include "base/memory_pages.h"
#include "base/nearest.h"

namespace mote::checkpoint {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the limit of the format's own library
constexpr std::size_t kMostAxes = 32;
constexpr std::size_t kLongestName = 4096;
constexpr std::size_t kMostTensors = 1'000'000;
constexpr std::size_t kMostMetadata = 10'000;
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kPadding = "__pad.";

std::optional<Dtype> dtype_named(const std::string& text) {
  for (std::size_t i = 0; i < kNumDtypes; ++i)
    if (const auto dtype = static_cast<Dtype>(i); in_safetensors(dtype) && text == name(dtype))
      return dtype;
  return std::nullopt;
}

std::string dtype_names() {
  std::string all;
  for (std::size_t i = 0; i < kNumDtypes; ++i)
    if (const auto dtype = static_cast<Dtype>(i); in_safetensors(dtype))
      all += concat(all.empty() ? "" : ", ", name(dtype));
  return all;
}

[[noreturn]] void refuse(const std::string& file, const std::string& tensor,
                         const std::string& what) {
  const std::string place = tensor.empty() ? "" : concat(" tensor '", tensor, "':");
  throw Error(ErrorKind::file, concat(file, ":", place, " ", what)).in(file).at(tensor);
}

struct Entry {
  Dtype dtype = Dtype::u8;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;
  std::size_t number = 0;  // in the header
};

// Reads the header in one pass without building a document: depth is bounded by the states below,
// and repeated names are seen, which a document would hide.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string file) : file_(std::move(file)) {}

  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("true or false"); }
  bool number_integer(std::int64_t value) override {
    unexpected(concat("the number ", value, " (only whole numbers from 0 are allowed)"));
  }
  bool number_float(double, const std::string& text) override {
    unexpected(concat("the number ", text, " (only whole numbers from 0 are allowed)"));
  }
  bool binary(nlohmann::json::binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(std::uint64_t value) override {
    if (state_ != State::shape && state_ != State::offsets)
      unexpected(concat("the number ", value));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      refuse_here(concat("the number ", value, " does not fit 63 bits"));
    if (state_ == State::shape) {
      if (entry_.shape.size() == kMostAxes)
        refuse_here(concat("its shape has over ", kMostAxes, " axes"));
      entry_.shape.push_back(static_cast<std::int64_t>(value));
    } else {
      if (num_offsets_ == 2) refuse_here("data_offsets has over two numbers");
      (num_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::metadata) {
      metadata[key_] = text;
      if (metadata.size() > kMostMetadata)
        refuse_here(concat("has more than ", kMostMetadata, " entries"));
      return true;
    }
    if (state_ != State::tensor || key_ != "dtype") unexpected("text");
    const std::optional<Dtype> dtype = dtype_named(text);
    if (!dtype) refuse_here(concat("dtype '", text, "' is not one of ", dtype_names()));
    entry_.dtype = *dtype;
    return true;
  }

  bool key(std::string& text) override {
    if (state_ == State::top) {
      if (text.size() > kLongestName)
        refuse(file_, "", concat("has a name of ", text.size(), " bytes, over ", kLongestName));
      tensor_ = text;
      if (!names_.insert(text).second) refuse_here("appears twice in the header");
      if (names_.size() > kMostTensors)
        refuse(file_, "", concat("names more than ", kMostTensors, " tensors"));
      return true;
    }
    key_ = text;
    if (!keys_.insert(text).second) refuse_here(concat("key '", text, "' appears twice"));
    if (state_ == State::tensor && text != "dtype" && text != "shape" && text != "data_offsets")
      refuse_here(concat("key '", text, "' is not one of dtype, shape, data_offsets"));
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::outside) return state_ = State::top, true;
    if (state_ != State::top) unexpected("a table");
    state_ = tensor_ == kMetadata ? State::metadata : State::tensor;
    entry_ = {};
    num_offsets_ = 0;
    keys_.clear();
    return true;
  }

  bool end_object() override {
    if (state_ == State::top) {
      state_ = State::done;
    } else {
      if (state_ == State::tensor) finish_tensor();
      state_ = State::top;
      tensor_.clear();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::tensor || key_ == "dtype") unexpected("a list");
    state_ = key_ == "shape" ? State::shape : State::offsets;
    return true;
  }
  bool end_array() override { return state_ = State::tensor, true; }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    refuse(file_, tensor_, concat("the header, at byte ", 8 + position, ", ", json_problem(error)));
  }

 private:
  enum class State { outside, top, tensor, metadata, shape, offsets, done };

  [[noreturn]] void refuse_here(const std::string& what) { refuse(file_, tensor_, what); }
  [[noreturn]] void unexpected(const std::string& found) {
    const char* wanted[] = {"a table of tensors",         "a table that describes it",
                            "dtype, shape, data_offsets", "text in __metadata__",
                            "sizes in its shape",         "two numbers in data_offsets",
                            "nothing after the header"};
    refuse_here(concat("found ", found, " where the format has ",
                       wanted[static_cast<std::size_t>(state_)]));
  }

  void finish_tensor() {
    for (const char* key : {"dtype", "shape", "data_offsets"})
      if (!keys_.contains(key)) refuse_here(concat("has no ", key));
    if (num_offsets_ != 2)
      refuse_here(concat("data_offsets has ", num_offsets_, " numbers instead of two"));
    entry_.number = entries.size();
    entries.emplace(tensor_, std::move(entry_));
  }

  std::string file_;
  State state_ = State::outside;
  std::string tensor_, key_;
  std::set<std::string> names_, keys_;
  Entry entry_;
  int num_offsets_ = 0;
};

// Entries whose sizes and offsets agree, in the order of their data.
std::vector<std::pair<const std::string, Entry>*> in_data_order(
    std::map<std::string, Entry>& entries, std::uint64_t data_bytes, const std::string& file) {
  std::vector<std::pair<const std::string, Entry>*> order;
  for (auto& entry : entries) {
    const auto& [tensor, is] = entry;
    if (is.begin > is.end)
      refuse(file, tensor, concat("data_offsets begin at ", is.begin, " and end at ", is.end));
    if (is.end > data_bytes)
      refuse(file, tensor,
             concat("its data ends at ", is.end, ", the file's data at ", data_bytes,
                    "; the file is cut short or damaged"));
    const ByteCount wanted = byte_count(is.dtype, is.shape);
    const std::string shaped = concat("shape ", in_brackets(is.shape), " of ", name(is.dtype));
    if (!wanted.problem.empty()) refuse(file, tensor, concat(shaped, " ", wanted.problem));
    if (wanted.bytes != is.end - is.begin)
      refuse(
          file, tensor,
          concat(shaped, " needs ", wanted.bytes, " bytes, data_offsets give ", is.end - is.begin));
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const auto place = [](const Entry& e) { return std::tuple(e.begin, e.end, e.number); };
    return place(a->second) < place(b->second);
  });
  return order;
}

void check_coverage(const std::vector<std::pair<const std::string, Entry>*>& order,
                    std::uint64_t data_bytes, const std::string& file) {
  std::uint64_t covered = 0;
  for (const auto* entry : order) {
    const auto& [tensor, is] = *entry;
    if (is.begin != covered)
      refuse(file, tensor,
             concat("its data begins at ", is.begin, ", the data before it ends at ", covered,
                    is.begin < covered ? ": they overlap" : ": a gap"));
    covered = is.end;
  }
  if (covered != data_bytes)
    refuse(file, "", concat("tensors cover ", covered, " of ", data_bytes, " bytes of data"));
}

// What is left out of a model must be what the writer puts between its tensors, and no weights.
void check_padding(const Entry& is, const std::string& file, const std::string& tensor) {
  const bool number = tensor.size() > std::strlen(kPadding) &&
                      tensor.find_first_not_of("0123456789", std::strlen(kPadding)) == tensor.npos;
  if (number && is.dtype == Dtype::u8 && is.shape.size() == 1 && is.end - is.begin > 0 &&
      is.end - is.begin < kAlignment)
    return;
  refuse(file, tensor,
         concat("has shape ", in_brackets(is.shape), " of ", name(is.dtype),
                "; such names are kept for padding, ", kPadding, "NUMBER of 1 to ", kAlignment - 1,
                " bytes of U8: give the tensor another"));
}

std::span<const std::byte> header_of(std::span<const std::byte> bytes, const std::string& file) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length)
    refuse(file, "", concat("has ", bytes.size(), " bytes, a safetensors file at least 8"));
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kLongestHeader)
    refuse(file, "",
           concat("gives its header ", length, " bytes, the format allows ", kLongestHeader,
                  "; is this a safetensors file?"));
  if (length > bytes.size() - sizeof length)
    refuse(file, "",
           concat("gives its header ", length, " bytes, the file has ",
                  bytes.size() - sizeof length, " after the length; it is cut short"));
  const auto header = bytes.subspan(sizeof length, static_cast<std::size_t>(length));
  if (header.empty() || header.front() != std::byte{'{'})
    refuse(file, "", "its header does not begin with '{'; is this a safetensors file?");
  return header;
}

std::uint64_t padding_after(std::uint64_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

void check_names(const std::vector<TensorSpec>& specs) {
  std::set<std::string> names;
  for (const TensorSpec& spec : specs) {
    MOTE_CHECK(spec.name != kMetadata && !spec.name.starts_with(kPadding),
               "safetensors: the name '", spec.name, "' is reserved; choose another");
    MOTE_CHECK(names.insert(spec.name).second, "safetensors: tensor '", spec.name,
               "' is listed twice");
    MOTE_CHECK(in_safetensors(spec.dtype), "safetensors: tensor '", spec.name, "' is ",
               name(spec.dtype), ", which the format does not have; decode it or write GGUF");
    MOTE_CHECK(spec.name.size() <= kLongestName && spec.shape.size() <= kMostAxes,
               "safetensors: tensor '", spec.name, "' has a name of ", spec.name.size(),
               " bytes and ", spec.shape.size(), " axes; readers take ", kLongestName, " and ",
               kMostAxes);
  }
}

// The length, the JSON and spaces up to a multiple of the alignment.
std::string header_for(const std::vector<TensorSpec>& specs,
                       const std::map<std::string, std::string>& metadata, Padding between) {
  check_names(specs);
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t offset = 0;
  const auto add = [&](const std::string& name, Dtype dtype, const auto& shape,
                       std::uint64_t bytes) {
    // Names are known to be distinct; looking each one up among those before it takes forever.
    header.get_ref<nlohmann::ordered_json::object_t&>().emplace_back(
        name, nlohmann::ordered_json{{"dtype", checkpoint::name(dtype)},
                                     {"shape", shape},
                                     {"data_offsets", {offset, offset + bytes}}});
    offset += bytes;
  };
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::uint64_t bytes = num_bytes(specs[i]);
    add(specs[i].name, specs[i].dtype, specs[i].shape, bytes);
    if (const std::uint64_t padding = padding_after(bytes);
        padding > 0 && between == Padding::to_64)
      add(kPadding + std::to_string(i), Dtype::u8, std::vector<std::uint64_t>{padding}, padding);
  }
  std::string json;
  try {
    json = header.dump();
  } catch (const nlohmann::json::type_error& error) {
    throw Error(ErrorKind::value, concat("safetensors: a name is not UTF-8: ", error.what()));
  }
  json.append(padding_after(sizeof(std::uint64_t) + json.size()), ' ');
  const std::uint64_t length = json.size();
  MOTE_CHECK(length <= kLongestHeader, "safetensors: the header takes ", length,
             " bytes, the format allows ", kLongestHeader, "; use more files");
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json;
}

}  // namespace

Safetensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file) {
  const std::span<const std::byte> header = header_of(bytes, file);
  HeaderReader reader(file);
  const char* text = reinterpret_cast<const char*>(header.data());
  nlohmann::json::sax_parse(text, text + header.size(), &reader);

  const std::span<const std::byte> data = bytes.subspan(8 + header.size());
  const auto order = in_data_order(reader.entries, data.size(), file);
  check_coverage(order, data.size(), file);

  Safetensors contents;
  contents.metadata = std::move(reader.metadata);
  for (auto* entry : order) {
    auto& [tensor, is] = *entry;
    if (tensor.starts_with(kPadding)) {
      check_padding(is, file, tensor);
      continue;
    }
    contents.tensors[tensor] = {is.dtype, std::move(is.shape),
                                data.subspan(is.begin, is.end - is.begin)};
    contents.order.push_back(tensor);
  }
  return contents;
}

SafetensorsFile::SafetensorsFile(const fs::path& path)
    : file_(path), contents_(parse_safetensors(file_.bytes(), path.string())) {
  use_huge_pages(file_.bytes().data(), file_.bytes().size());
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<TensorSpec>& specs,
                                     const std::map<std::string, std::string>& metadata,
                                     Padding padding)
    : writer_(path, header_for(specs, metadata, padding), specs,
              padding == Padding::to_64 ? kAlignment : 1) {}

ModelWriter::ModelWriter(fs::path folder, std::vector<TensorSpec> specs, std::uint64_t most_bytes,
                         Padding padding)
    : folder_(std::move(folder)), padding_(padding) {
  std::uint64_t filled = 0;
  for (TensorSpec& spec : specs) {
    const std::uint64_t bytes = num_bytes(spec);
    if (shards_.empty() || (filled > 0 && filled + bytes > most_bytes)) {
      shards_.emplace_back();
      filled = 0;
    }
    filled += bytes;
    shards_.back().push_back(std::move(spec));
  }
  if (shards_.empty()) shards_.emplace_back();
  open_next();
}

std::string ModelWriter::file_name(std::size_t shard) const {
  if (shards_.size() == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards_.size());
  return name;
}

void ModelWriter::open_next() {
  if (writer_) writer_->commit();
  writer_ = std::make_unique<SafetensorsWriter>(
      folder_ / file_name(next_), shards_[next_],
      std::map<std::string, std::string>{{"format", "pt"}}, padding_);
  here_.clear();
  for (const TensorSpec& spec : shards_[next_]) here_.insert(spec.name);
  ++next_;
}

void ModelWriter::write(const std::string& tensor, std::span<const std::byte> bytes) {
  while (!here_.contains(tensor) && next_ < shards_.size()) open_next();
  writer_->write(tensor, bytes);
}

void ModelWriter::commit() {
  while (next_ < shards_.size()) open_next();
  if (shards_.size() > 1) {
    nlohmann::ordered_json map = nlohmann::ordered_json::object();
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < shards_.size(); ++i)
      for (const TensorSpec& spec : shards_[i]) {
        map.get_ref<nlohmann::ordered_json::object_t&>().emplace_back(spec.name, file_name(i));
        total += num_bytes(spec);
      }
    const nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}},
                                          {"weight_map", std::move(map)}};
    write_file(folder_ / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  writer_->commit();
}

}  // namespace mote::checkpoint
