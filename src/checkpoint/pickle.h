// Python's pickle as torch.save writes it, read by a machine that can build values and nothing else.
//
// A pickle is a program for a stack machine; Python's own runs any function it names. This one knows
// 35 instructions (all that torch.save has written) and a closed list of names:
//   collections.OrderedDict                 an empty dict, or one of pairs
//   torch._utils._rebuild_tensor_v2         a tensor: storage, offset, size, stride, ...
//   torch._utils._rebuild_parameter         the tensor that it is given
//   torch.Size                              the tuple that it is given
//   torch.{Float, ...}Storage, torch.storage.UntypedStorage    the type of a storage
// Everything else is refused by name. What an object is told about itself (BUILD) is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/tensor.h"

namespace mote::checkpoint {

using PickleRef = std::uint32_t;  // of a node

// Values refer to each other by number, so that depth and cycles cost no recursion.
struct PickleNode {
  enum class Kind {
    none,
    boolean,  // integer: 0 or 1
    integer,
    real,
    text,
    big,      // a whole number of over 64 bits; text: its bytes, the lowest first
    list,     // items
    tuple,    // items
    dict,     // items: key, value, key, value, ...
    global,   // integer: which name of the list; dtype of a storage's type
    storage,  // items: type, key, location, numel, ...: what the persistent id has
    tensor,   // items: what _rebuild_tensor_v2 is given
  };
  Kind kind = Kind::none;
  Dtype dtype = Dtype::u8;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;  // in the bytes that were read
  std::vector<PickleRef> items;
};
const char* name(PickleNode::Kind kind);

struct Pickle {
  std::vector<PickleNode> nodes;
  PickleRef root = 0;
  std::size_t bytes = 0;  // how many were read, to the end of the pickle

  const PickleNode& operator[](PickleRef ref) const { return nodes[ref]; }
};

// Reads one pickle from the beginning of `bytes`; `file` is for messages. Texts of what it returns
// point into `bytes`.
Pickle read_pickle(std::span<const std::byte> bytes, const std::string& file);

}  // namespace mote::checkpoint
