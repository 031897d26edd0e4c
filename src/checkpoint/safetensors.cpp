#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/json_text.h"
#include "base/nearest.h"

namespace mote::checkpoint {
namespace {

struct DtypeRow {
  const char* name;
  std::size_t bytes;
};
constexpr std::array<DtypeRow, 13> kDtypes{{{"F64", 8},
                                            {"F32", 4},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I64", 8},
                                            {"I32", 4},
                                            {"I16", 2},
                                            {"I8", 1},
                                            {"U64", 8},
                                            {"U32", 4},
                                            {"U16", 2},
                                            {"U8", 1},
                                            {"BOOL", 1}}};

constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the limit of the format's own library
constexpr std::size_t kMostAxes = 64;
constexpr std::size_t kMostTensors = 1'000'000;
constexpr std::size_t kMostMetadata = 10'000;
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kPadding = "__pad.";

std::optional<Dtype> dtype_named(const std::string& text) {
  for (std::size_t i = 0; i < kDtypes.size(); ++i)
    if (text == kDtypes[i].name) return static_cast<Dtype>(i);
  return std::nullopt;
}

std::string dtype_names() {
  std::string all;
  for (const DtypeRow& row : kDtypes) all += (all.empty() ? "" : ", ") + std::string(row.name);
  return all;
}

// The product of the shape and the element size, where 63 bits hold it. A zero anywhere makes the
// tensor empty, but the product of the other sizes must still be sane.
std::optional<std::uint64_t> checked_bytes(Dtype dtype, const std::vector<std::int64_t>& shape) {
  std::int64_t bytes = static_cast<std::int64_t>(bytes_per_element(dtype));
  bool empty = false;
  for (std::int64_t size : shape) {
    empty = empty || size == 0;
    if (size < 0 || (size > 0 && __builtin_mul_overflow(bytes, size, &bytes))) return std::nullopt;
  }
  return empty ? 0 : static_cast<std::uint64_t>(bytes);
}

std::string in_brackets(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
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
    const std::optional<std::uint64_t> wanted = checked_bytes(is.dtype, is.shape);
    const std::string shaped = concat("shape ", in_brackets(is.shape), " of ", name(is.dtype));
    if (!wanted) refuse(file, tensor, concat(shaped, " is too large"));
    if (*wanted != is.end - is.begin)
      refuse(file, tensor,
             concat(shaped, " needs ", *wanted, " bytes, data_offsets give ", is.end - is.begin));
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
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
  return bytes.subspan(sizeof length, static_cast<std::size_t>(length));
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
  }
}

// The length, the JSON and spaces up to a multiple of the alignment.
std::string header_for(const std::vector<TensorSpec>& specs,
                       const std::map<std::string, std::string>& metadata) {
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
    if (const std::uint64_t padding = padding_after(bytes))
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

const char* name(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)].name;
}

std::size_t bytes_per_element(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)].bytes;
}

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
  for (auto& [tensor, is] : reader.entries) {
    if (tensor.starts_with(kPadding))
      check_padding(is, file, tensor);
    else
      contents.tensors[tensor] = {is.dtype, std::move(is.shape),
                                  data.subspan(is.begin, is.end - is.begin)};
  }
  return contents;
}

std::uint64_t num_bytes(const TensorSpec& spec) {
  const std::optional<std::uint64_t> bytes = checked_bytes(spec.dtype, spec.shape);
  MOTE_CHECK(bytes, "safetensors: tensor '", spec.name, "' of shape ", in_brackets(spec.shape),
             " has a negative or too large size");
  return *bytes;
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, std::vector<TensorSpec> specs,
                                     const std::map<std::string, std::string>& metadata)
    : specs_(std::move(specs)), file_(path) {
  check_names(specs_);
  file_.write(header_for(specs_, metadata));
  if (!specs_.empty()) left_ = num_bytes(specs_.front());
}

void SafetensorsWriter::write(const std::string& tensor, std::span<const std::byte> bytes) {
  while (current_ < specs_.size() && left_ == 0 && specs_[current_].name != tensor) finish_tensor();
  MOTE_CHECK(current_ < specs_.size(), "safetensors: tensor '", tensor,
             "' comes after the last one announced");
  const TensorSpec& spec = specs_[current_];
  MOTE_CHECK(spec.name == tensor, "safetensors: tensor '", tensor, "' comes while '", spec.name,
             "' lacks ", left_, " bytes");
  MOTE_CHECK(bytes.size() <= left_, "safetensors: tensor '", tensor, "' lacks ", left_,
             " bytes and was given ", bytes.size());
  file_.write(bytes);
  left_ -= bytes.size();
}

void SafetensorsWriter::finish_tensor() {
  file_.pad_to(kAlignment);
  ++current_;
  if (current_ < specs_.size()) left_ = num_bytes(specs_[current_]);
}

void SafetensorsWriter::commit() {
  while (current_ < specs_.size()) {
    MOTE_CHECK(left_ == 0, "safetensors: tensor '", specs_[current_].name, "' lacks ", left_,
               " bytes");
    finish_tensor();
  }
  file_.commit();
}

ModelWriter::ModelWriter(fs::path folder, std::vector<TensorSpec> specs, std::uint64_t most_bytes)
    : folder_(std::move(folder)) {
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
  writer_ =
      std::make_unique<SafetensorsWriter>(folder_ / file_name(next_), shards_[next_],
                                          std::map<std::string, std::string>{{"format", "pt"}});
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
