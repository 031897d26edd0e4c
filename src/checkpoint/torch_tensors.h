// From the object that a pickle of torch.save holds to named tensors over its storages.
#pragma once

#include "checkpoint/pickle.h"
#include "checkpoint/refuse.h"
#include "checkpoint/torch_pickle.h"

namespace mote::checkpoint {

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
class PickleReader {
 public:
  PickleReader(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  [[noreturn]] void refuse(const std::string& tensor, const std::string& what) const {
    refuse_file(file_, tensor, tensor.empty() ? what : concat("tensor '", tensor, "': ", what));
  }
  const PickleNode& node(PickleRef ref, PickleNode::Kind kind, const std::string& tensor) const {
    const PickleNode& found = pickle_[ref];
    if (found.kind != kind)
      refuse(tensor, concat("has ", name(found.kind), " where ", name(kind), " belongs"));
    return found;
  }
  std::int64_t size(PickleRef ref, const std::string& tensor) const {
    const std::int64_t value = node(ref, PickleNode::Kind::integer, tensor).integer;
    if (value < 0) refuse(tensor, concat("has the size, stride or offset ", value));
    return value;
  }
  std::vector<std::int64_t> sizes(PickleRef ref, const std::string& tensor) const {
    const PickleNode& tuple = node(ref, PickleNode::Kind::tuple, tensor);
    if (tuple.items.size() > kMostAxes)
      refuse(tensor, concat("has ", tuple.items.size(), " axes, over ", kMostAxes));
    std::vector<std::int64_t> all;
    for (const PickleRef item : tuple.items) all.push_back(size(item, tensor));
    return all;
  }

 private:
  static constexpr std::size_t kMostAxes = 64;
  const Pickle& pickle_;
  const std::string& file_;
};

// Fills `out` with the tensors and the values of the object, refusing what leaves its storage. No
// more than `most_copied` bytes are copied.
void collect_tensors(const Pickle& pickle, Storages& storages, std::uint64_t most_copied,
                     const std::string& file, TorchPickle& out);

}  // namespace mote::checkpoint
