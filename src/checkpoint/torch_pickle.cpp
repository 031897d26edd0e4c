#include "checkpoint/torch_pickle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "checkpoint/pickle.h"
#include "checkpoint/refuse.h"

namespace mote::checkpoint {
namespace {

using Kind = PickleNode::Kind;

constexpr std::size_t kDeepest = 16, kMostLeaves = 1'000'000, kMostAxes = 64, kLongestName = 4096;
constexpr std::size_t kMostText = 100'000'000;
constexpr const char* kData = "/data.pkl";
constexpr std::string_view kZipMagic = "PK\x03\x04";
// The number 0x1950a86a20f9469cfc6c as a pickle of protocol 2.
constexpr std::string_view kLegacyMagic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr std::int64_t kLegacyProtocol = 1001;

struct Storage {
  std::span<const std::byte> bytes;
  Dtype dtype = Dtype::u8;
  std::string record;  // in the ZIP form
};

// The storages of a file by what the pickle calls them.
class Storages {
 public:
  virtual ~Storages() = default;
  // Refuses one that is missing or has another size.
  virtual Storage at(const std::string& key, Dtype dtype, std::int64_t numel,
                     const std::string& tensor) = 0;
};

// What a pickle says a tensor or a storage is.
class Reader {
 public:
  Reader(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  [[noreturn]] void refuse(const std::string& tensor, const std::string& what) const {
    refuse_file(file_, tensor, tensor.empty() ? what : concat("tensor '", tensor, "': ", what));
  }
  const PickleNode& node(PickleRef ref, Kind kind, const std::string& tensor) const {
    const PickleNode& found = pickle_[ref];
    if (found.kind != kind)
      refuse(tensor, concat("has ", name(found.kind), " where ", name(kind), " belongs"));
    return found;
  }
  std::int64_t size(PickleRef ref, const std::string& tensor) const {
    const std::int64_t value = node(ref, Kind::integer, tensor).integer;
    if (value < 0) refuse(tensor, concat("has the size, stride or offset ", value));
    return value;
  }
  std::vector<std::int64_t> sizes(PickleRef ref, const std::string& tensor) const {
    const PickleNode& tuple = node(ref, Kind::tuple, tensor);
    if (tuple.items.size() > kMostAxes)
      refuse(tensor, concat("has ", tuple.items.size(), " axes, over ", kMostAxes));
    std::vector<std::int64_t> all;
    for (const PickleRef item : tuple.items) all.push_back(size(item, tensor));
    return all;
  }

 private:
  const Pickle& pickle_;
  const std::string& file_;
};

// Whether elements of these strides lie in C order without a gap.
bool in_c_order(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  std::int64_t next = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != next) return false;
    next *= shape[i];
  }
  return true;
}

// The elements from `source` on, at their strides, in C order.
std::vector<std::byte> gathered(const std::byte* source, const std::vector<std::int64_t>& shape,
                                const std::vector<std::int64_t>& strides, std::size_t element,
                                std::size_t bytes) {
  std::vector<std::byte> copy(bytes);
  std::vector<std::int64_t> index(shape.size(), 0);
  for (std::size_t done = 0; done < bytes; done += element) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < shape.size(); ++i) offset += index[i] * strides[i];
    std::memcpy(copy.data() + done, source + static_cast<std::size_t>(offset) * element, element);
    for (std::size_t i = shape.size(); i-- > 0 && ++index[i] == shape[i];) index[i] = 0;
  }
  return copy;
}

// Walks the object and fills `out`.
class Builder {
 public:
  Builder(const Pickle& pickle, Storages& storages, std::uint64_t most_copied,
          const std::string& file, TorchPickle& out)
      : pickle_(pickle),
        reader_(pickle, file),
        storages_(storages),
        left_(most_copied),
        out_(out) {}

  void walk() {
    const Kind kind = pickle_[pickle_.root].kind;
    if (kind != Kind::dict && kind != Kind::list && kind != Kind::tuple)
      reader_.refuse("", concat("holds ", name(kind), ", no dict of tensors"));
    add(pickle_.root, "", 0);
  }

 private:
  void add(PickleRef ref, const std::string& path, std::size_t depth) {
    const PickleNode& node = pickle_[ref];
    // A text or a dict may be named many times.
    text_ += path.size() + node.text.size();
    if (text_ > kMostText)
      reader_.refuse("", concat("has names and texts of over ", kMostText, " bytes"));
    if (++visited_ > kMostLeaves)
      reader_.refuse(path, concat("has more than ", kMostLeaves, " values"));
    if (depth > kDeepest) reader_.refuse(path, concat("is nested deeper than ", kDeepest));
    if (path.size() > kLongestName)
      reader_.refuse("", concat("has a name of ", path.size(), " bytes, over ", kLongestName));
    const auto inside = [&](const std::string& key) {
      return depth == 0 ? key : concat(path, ".", key);
    };
    switch (node.kind) {
      case Kind::dict:
        for (std::size_t i = 0; i < node.items.size(); i += 2)
          add(node.items[i + 1], inside(key_text(node.items[i], path)), depth + 1);
        return;
      case Kind::list:
      case Kind::tuple:
        for (std::size_t i = 0; i < node.items.size(); ++i)
          add(node.items[i], inside(std::to_string(i)), depth + 1);
        return;
      case Kind::tensor:
        if (!out_.tensors.emplace(path, tensor(node, path)).second)
          reader_.refuse(path, "comes twice");
        return;
      case Kind::storage:
        reader_.refuse(path, "is a storage without a shape; save it as a tensor");
      default:
        if (!out_.values.emplace(path, value(node)).second) reader_.refuse(path, "comes twice");
    }
  }

  std::string key_text(PickleRef ref, const std::string& path) const {
    const PickleNode& key = pickle_[ref];
    if (key.kind == Kind::text) return std::string(key.text);
    return std::to_string(reader_.node(ref, Kind::integer, path).integer);
  }

  static Json value(const PickleNode& node) {
    switch (node.kind) {
      case Kind::boolean:
        return node.integer != 0;
      case Kind::integer:
        return node.integer;
      case Kind::real:
        return std::isfinite(node.real) ? Json(node.real) : Json(std::to_string(node.real));
      case Kind::text:
        return std::string(node.text);
      case Kind::none:
        return nullptr;
      default:
        return name(node.kind);
    }
  }

  // storage, offset, size, stride, requires_grad, hooks
  Tensor tensor(const PickleNode& node, const std::string& path) {
    const PickleNode& stored = reader_.node(node.items[0], Kind::storage, path);
    const Dtype dtype = pickle_[stored.items[0]].dtype;
    const std::string key = key_text(stored.items[1], path);
    const std::int64_t numel = reader_.size(stored.items[3], path);
    if (stored.items.size() > 4 && pickle_[stored.items[4]].kind != Kind::none)
      reader_.refuse(path, "is a view of a storage as before PyTorch 0.4; save it again");
    const std::int64_t offset = reader_.size(node.items[1], path);
    const std::vector<std::int64_t> shape = reader_.sizes(node.items[2], path);
    const std::vector<std::int64_t> strides = reader_.sizes(node.items[3], path);
    if (shape.size() != strides.size())
      reader_.refuse(path, concat("has ", shape.size(), " sizes and ", strides.size(), " strides"));
    const ByteCount count = byte_count(dtype, shape);
    if (!count.problem.empty())
      reader_.refuse(path, concat("shape ", in_brackets(shape), " ", count.problem));
    const Storage storage = storages_.at(key, dtype, numel, path);
    if (!storage.record.empty()) out_.record_of[path] = storage.record;
    if (count.bytes == 0) return {dtype, shape, storage.bytes.first(0)};
    check_inside(shape, strides, offset, numel, path);

    const std::size_t element = bytes_per_element(dtype);
    const std::byte* first = storage.bytes.data() + static_cast<std::size_t>(offset) * element;
    if (in_c_order(shape, strides)) return {dtype, shape, {first, count.bytes}};
    if (count.bytes > storage.bytes.size())
      reader_.refuse(path, concat("of ", count.bytes, " bytes repeats a storage of ",
                                  storage.bytes.size(), "; save it with .contiguous()"));
    if (count.bytes > left_)
      reader_.refuse(path,
                     "and those before it repeat their storages; save them with .contiguous()");
    left_ -= count.bytes;
    out_.copies.push_back(gathered(first, shape, strides, element, count.bytes));
    return {dtype, shape, out_.copies.back()};
  }

  // The last element is the farthest, since no stride is below 0.
  void check_inside(const std::vector<std::int64_t>& shape,
                    const std::vector<std::int64_t>& strides, std::int64_t offset,
                    std::int64_t numel, const std::string& path) const {
    std::int64_t last = offset;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      std::int64_t step = 0;
      if (__builtin_mul_overflow(shape[i] - 1, strides[i], &step) ||
          __builtin_add_overflow(last, step, &last))
        reader_.refuse(path, concat("its strides ", in_brackets(strides), " are too large"));
    }
    if (last >= numel)
      reader_.refuse(
          path, concat("shape ", in_brackets(shape), " at strides ", in_brackets(strides), " from ",
                       offset, " ends at element ", last, ", its storage has ", numel));
  }

  const Pickle& pickle_;
  const Reader reader_;
  Storages& storages_;
  std::uint64_t left_;  // bytes that may still be copied
  TorchPickle& out_;
  std::size_t visited_ = 0, text_ = 0;  // values, and bytes of names and texts
};

std::uint64_t bytes_of(Dtype dtype, std::int64_t numel, const std::string& file,
                       const std::string& what) {
  const ByteCount count = byte_count(dtype, {numel});
  if (!count.problem.empty())
    refuse_file(file, what, concat("storage '", what, "' of ", numel, " elements ", count.problem));
  return count.bytes;
}

class ZipStorages final : public Storages {
 public:
  ZipStorages(const std::map<std::string, ZipRecord>& records, std::string root,
              const std::string& file)
      : records_(records), root_(std::move(root)), file_(file) {}

  Storage at(const std::string& key, Dtype dtype, std::int64_t numel,
             const std::string& tensor) override {
    const std::string record = concat(root_, "/data/", key);
    const auto found = records_.find(record);
    if (found == records_.end())
      refuse_file(file_, tensor,
                  concat("tensor '", tensor, "' is in the record '", record,
                         "', which is missing; the file is damaged"));
    const std::uint64_t wanted = bytes_of(dtype, numel, file_, key);
    if (found->second.bytes.size() != wanted)
      refuse_file(file_, tensor,
                  concat("tensor '", tensor, "': the record '", record, "' has ",
                         found->second.bytes.size(), " bytes, ", numel, " elements of ",
                         name(dtype), " take ", wanted));
    return {found->second.bytes, dtype, record};
  }

 private:
  const std::map<std::string, ZipRecord>& records_;
  const std::string root_;
  const std::string& file_;
};

TorchPickle parse_zip_form(std::span<const std::byte> bytes, const std::string& file) {
  TorchPickle out;
  out.records = parse_zip(bytes, file);
  std::string root;
  for (const auto& [record, unused] : out.records) {
    if (!record.ends_with(kData) || record.find('/') != record.size() - std::strlen(kData))
      continue;
    if (!root.empty())
      refuse_file(file, record, concat("has the records '", root, kData, "' and '", record, "'"));
    root = record.substr(0, record.size() - std::strlen(kData));
  }
  if (root.empty())
    refuse_file(file, "data.pkl", "is a ZIP archive without data.pkl; is it a file of torch.save?");
  if (const auto order = out.records.find(root + "/byteorder"); order != out.records.end()) {
    const auto said = order->second.bytes;
    const std::string text(reinterpret_cast<const char*>(said.data()), said.size());
    if (text != "little")
      refuse_file(file, "byteorder", concat("its byteorder is '", text, "'; only little is read"));
  }
  const ZipRecord& data = out.records.at(root + kData);
  check_crc(data, root + kData, file);
  const Pickle pickle = read_pickle(data.bytes, file);
  ZipStorages storages(out.records, root, file);
  Builder(pickle, storages, bytes.size(), file, out).walk();
  return out;
}

// What the pickle says of the storages, which in the old form alone tells where each begins.
class LegacyStorages final : public Storages {
 public:
  LegacyStorages(std::span<const std::byte> bytes, const Pickle& object, const Pickle& keys,
                 const std::string& file)
      : file_(file) {
    const std::map<std::string, Dtype> types = types_in(object);
    std::size_t position = 0;
    const auto take = [&](std::uint64_t size, const std::string& key) {
      if (size > bytes.size() - position)
        refuse_file(file, key,
                    concat("storage '", key, "' takes ", size, " bytes of the ",
                           bytes.size() - position, " that are left; it is cut short"));
      position += size;
      return bytes.subspan(position - size, size);
    };
    const PickleNode& list = Reader(keys, file).node(keys.root, Kind::list, "");
    for (const PickleRef ref : list.items) {
      const std::string key(Reader(keys, file).node(ref, Kind::text, "").text);
      const auto type = types.find(key);
      if (type == types.end())
        refuse_file(file, key, concat("has a storage '", key, "' that no tensor uses"));
      std::int64_t numel;
      std::memcpy(&numel, take(sizeof numel, key).data(), sizeof numel);
      const auto data = take(bytes_of(type->second, numel, file, key), key);
      if (!storages_.emplace(key, Storage{data, type->second, ""}).second)
        refuse_file(file, key, concat("lists storage '", key, "' twice"));
    }
    if (position != bytes.size())
      refuse_file(file, "",
                  concat("has ", bytes.size() - position, " bytes after its last storage"));
  }

  Storage at(const std::string& key, Dtype dtype, std::int64_t numel,
             const std::string& tensor) override {
    const auto found = storages_.find(key);
    if (found == storages_.end())
      refuse_file(file_, tensor,
                  concat("tensor '", tensor, "' is in storage '", key, "', which is missing"));
    if (found->second.bytes.size() != bytes_of(dtype, numel, file_, key))
      refuse_file(
          file_, tensor,
          concat("tensor '", tensor, "': storage '", key, "' has ", found->second.bytes.size(),
                 " bytes, ", numel, " elements of ", name(dtype), " do not take so many"));
    return found->second;
  }

 private:
  std::map<std::string, Dtype> types_in(const Pickle& object) const {
    std::map<std::string, Dtype> types;
    const Reader reader(object, file_);
    for (const PickleNode& node : object.nodes) {
      if (node.kind != Kind::storage) continue;
      const std::string key(reader.node(node.items[1], Kind::text, "").text);
      const Dtype dtype = object[node.items[0]].dtype;
      if (!types.emplace(key, dtype).second && types.at(key) != dtype)
        refuse_file(file_, key,
                    concat("storage '", key, "' is ", name(types.at(key)), " and ", name(dtype)));
    }
    return types;
  }

  std::map<std::string, Storage> storages_;
  const std::string& file_;
};

TorchPickle parse_legacy_form(std::span<const std::byte> bytes, const std::string& file) {
  auto rest = bytes.subspan(kLegacyMagic.size());
  const auto next = [&] {
    Pickle pickle = read_pickle(rest, file);
    rest = rest.subspan(pickle.bytes);
    return pickle;
  };
  const Pickle protocol = next();
  const std::int64_t version =
      Reader(protocol, file).node(protocol.root, Kind::integer, "protocol").integer;
  if (version != kLegacyProtocol)
    refuse_file(file, "protocol",
                concat("is of protocol ", version, ", ", kLegacyProtocol, " is read"));
  const Pickle system = next();
  const PickleNode& facts = Reader(system, file).node(system.root, Kind::dict, "");
  for (std::size_t i = 0; i < facts.items.size(); i += 2)
    if (system[facts.items[i]].text == "little_endian" && system[facts.items[i + 1]].integer != 1)
      refuse_file(file, "little_endian", "is big-endian; only little-endian files are read");
  const Pickle object = next(), keys = next();
  LegacyStorages storages(rest, object, keys, file);
  TorchPickle out;
  Builder(object, storages, bytes.size(), file, out).walk();
  return out;
}

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

}  // namespace

bool is_torch_pickle(std::span<const std::byte> bytes) {
  return begins_with(bytes, kZipMagic) || begins_with(bytes, kLegacyMagic);
}

TorchPickle parse_torch_pickle(std::span<const std::byte> bytes, const std::string& file) {
  if (begins_with(bytes, kZipMagic)) return parse_zip_form(bytes, file);
  if (begins_with(bytes, kLegacyMagic)) return parse_legacy_form(bytes, file);
  refuse_file(file, "", "is no file of torch.save: neither a ZIP archive nor its older form");
}

TorchPickleFile::TorchPickleFile(const fs::path& path)
    : file_(path), contents_(parse_torch_pickle(file_.bytes(), path.string())) {
  for (const auto& [tensor, record] : contents_.record_of) checked_[record] = false;
}

const Tensor& TorchPickleFile::at(const std::string& name) const {
  const Tensor& tensor = TensorSource::at(name);
  if (const auto found = contents_.record_of.find(name); found != contents_.record_of.end())
    if (std::atomic<bool>& checked = checked_.at(found->second); !checked) {
      check_crc(contents_.records.at(found->second), found->second, path().string());
      checked = true;
    }
  return tensor;
}

}  // namespace mote::checkpoint
