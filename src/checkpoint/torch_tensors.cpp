#include "checkpoint/torch_tensors.h"

#include <cmath>
#include <cstring>

namespace mote::checkpoint {
namespace {

using Kind = PickleNode::Kind;

constexpr std::size_t kDeepest = 16, kMostLeaves = 1'000'000, kLongestName = 4096;
constexpr std::size_t kMostText = 100'000'000;
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
  const PickleReader reader_;
  Storages& storages_;
  std::uint64_t left_;  // bytes that may still be copied
  TorchPickle& out_;
  std::size_t visited_ = 0, text_ = 0;  // values, and bytes of names and texts
};

}  // namespace

void collect_tensors(const Pickle& pickle, Storages& storages, std::uint64_t most_copied,
                     const std::string& file, TorchPickle& out) {
  Builder(pickle, storages, most_copied, file, out).walk();
}

}  // namespace mote::checkpoint
