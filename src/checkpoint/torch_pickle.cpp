#include "checkpoint/torch_pickle.h"

#include <cstring>

#include "checkpoint/torch_tensors.h"

namespace mote::checkpoint {
namespace {

using Kind = PickleNode::Kind;

constexpr const char* kData = "/data.pkl";
constexpr std::string_view kZipMagic = "PK\x03\x04";
// The number 0x1950a86a20f9469cfc6c as a pickle of protocol 2.
constexpr std::string_view kLegacyMagic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr std::int64_t kLegacyProtocol = 1001;

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
  collect_tensors(pickle, storages, bytes.size(), file, out);
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
    const PickleNode& list = PickleReader(keys, file).node(keys.root, Kind::list, "");
    for (const PickleRef ref : list.items) {
      const std::string key(PickleReader(keys, file).node(ref, Kind::text, "").text);
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
    const PickleReader reader(object, file_);
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
      PickleReader(protocol, file).node(protocol.root, Kind::integer, "protocol").integer;
  if (version != kLegacyProtocol)
    refuse_file(file, "protocol",
                concat("is of protocol ", version, ", ", kLegacyProtocol, " is read"));
  const Pickle system = next();
  const PickleNode& facts = PickleReader(system, file).node(system.root, Kind::dict, "");
  for (std::size_t i = 0; i < facts.items.size(); i += 2)
    if (system[facts.items[i]].text == "little_endian" && system[facts.items[i + 1]].integer != 1)
      refuse_file(file, "little_endian", "is big-endian; only little-endian files are read");
  const Pickle object = next(), keys = next();
  LegacyStorages storages(rest, object, keys, file);
  TorchPickle out;
  collect_tensors(object, storages, bytes.size(), file, out);
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
