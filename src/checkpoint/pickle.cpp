#include "checkpoint/pickle.h"

#include <bit>
#include <cstring>
#include <unordered_map>

#include "checkpoint/refuse.h"

namespace mote::checkpoint {
namespace {

using Kind = PickleNode::Kind;

constexpr std::size_t kMostNodes = 10'000'000;
constexpr std::size_t kLongestText = 65'536;

enum class Global { ordered_dict, rebuild_tensor, rebuild_parameter, size, storage };
struct GlobalRow {
  const char* module;
  const char* name;
  Global is;
  Dtype dtype = Dtype::u8;
};
constexpr GlobalRow kGlobals[] = {
    {"collections", "OrderedDict", Global::ordered_dict},
    {"torch._utils", "_rebuild_tensor_v2", Global::rebuild_tensor},
    {"torch._utils", "_rebuild_parameter", Global::rebuild_parameter},
    {"torch", "Size", Global::size},
    {"torch", "FloatStorage", Global::storage, Dtype::f32},
    {"torch", "DoubleStorage", Global::storage, Dtype::f64},
    {"torch", "HalfStorage", Global::storage, Dtype::f16},
    {"torch", "BFloat16Storage", Global::storage, Dtype::bf16},
    {"torch", "LongStorage", Global::storage, Dtype::i64},
    {"torch", "IntStorage", Global::storage, Dtype::i32},
    {"torch", "ShortStorage", Global::storage, Dtype::i16},
    {"torch", "CharStorage", Global::storage, Dtype::i8},
    {"torch", "ByteStorage", Global::storage, Dtype::u8},
    {"torch", "BoolStorage", Global::storage, Dtype::boolean},
    {"torch.storage", "UntypedStorage", Global::storage, Dtype::u8},
};

enum Opcode : unsigned char {
  kMark = '(',
  kEmptyTuple = ')',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  Pickle run() {
    for (;;) {
      begin_ = position_;
      const auto opcode = number<std::uint8_t>();
      if (opcode == kStop) break;
      step(opcode);
    }
    out_.root = pop();
    if (!stack_.empty() || !marks_.empty())
      refuse(concat("ends with ", stack_.size(), " values too many on its stack"));
    out_.bytes = position_;
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& field = "") const {
    refuse_file(file_, field, concat("its pickle, at byte ", begin_, ", ", what));
  }

  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size() - position_)
      refuse(concat("takes ", size, " bytes of the ", bytes_.size() - position_,
                    " that are left; it is cut short"));
    const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + position_, size);
    position_ += size;
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const std::size_t begin = position_;
    while (number<char>() != '\n')
      if (position_ - begin > kLongestText) refuse("has a name without an end");
    return {reinterpret_cast<const char*>(bytes_.data()) + begin, position_ - begin - 1};
  }

  PickleNode& push(Kind kind) {
    if (out_.nodes.size() == kMostNodes)
      refuse(concat("has more than ", kMostNodes, " values; is it a file of tensors?"));
    stack_.push_back(static_cast<PickleRef>(out_.nodes.size()));
    out_.nodes.emplace_back().kind = kind;
    return out_.nodes.back();
  }
  void push_integer(std::int64_t value, Kind kind = Kind::integer) { push(kind).integer = value; }
  void push_text(std::uint64_t size) {
    if (size > kLongestText) refuse(concat("has a text of ", size, " bytes, over ", kLongestText));
    const std::string_view text = take(size);
    push(Kind::text).text = text;
  }

  // What lies below the last mark is not to be taken.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleRef pop() {
    if (stack_.size() <= floor()) refuse("takes a value from an empty stack");
    const PickleRef ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) refuse("looks for a mark, and there is none");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  PickleNode& top(Kind kind) {
    if (stack_.size() <= floor()) refuse("changes a value of an empty stack");
    PickleNode& node = out_.nodes[stack_.back()];
    if (node.kind != kind) refuse(concat("adds to ", name(node.kind), " as to ", name(kind)));
    return node;
  }
  const PickleNode& expect(PickleRef ref, Kind kind) const {
    const PickleNode& node = out_.nodes[ref];
    if (node.kind != kind)
      refuse(concat("has ", name(node.kind), " where ", name(kind), " belongs"));
    return node;
  }

  void push_tuple(std::size_t size) {
    std::vector<PickleRef> items(size);
    for (std::size_t i = size; i-- > 0;) items[i] = pop();
    push(Kind::tuple).items = std::move(items);
  }
  void append(Kind kind, std::vector<PickleRef> items) {
    if (kind == Kind::dict && items.size() % 2 != 0) refuse("gives a dict a key without a value");
    auto& to = top(kind).items;
    to.insert(to.end(), items.begin(), items.end());
  }
  void push_global(std::string_view module, std::string_view global) {
    for (std::size_t i = 0; i < std::size(kGlobals); ++i) {
      if (module != kGlobals[i].module || global != kGlobals[i].name) continue;
      PickleNode& node = push(Kind::global);
      node.integer = static_cast<std::int64_t>(kGlobals[i].is);
      node.dtype = kGlobals[i].dtype;
      return;
    }
    const std::string full = concat(module, ".", global);
    refuse(concat("imports '", full,
                  "', which is no part of a file of tensors and could run code; do not open it "
                  "elsewhere either, ask for the model as safetensors"),
           full);
  }
  void remember(std::uint32_t index) {
    if (stack_.empty()) refuse("remembers a value of an empty stack");
    memo_[index] = stack_.back();
  }
  void recall(std::uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse(concat("recalls value ", index, ", which it never stored"));
    stack_.push_back(found->second);
  }

  void persistent_id() {
    const PickleNode& id = expect(pop(), Kind::tuple);
    if (id.items.size() < 5 || id.items.size() > 6 || out_[id.items[0]].kind != Kind::text ||
        out_[id.items[0]].text != "storage")
      refuse("has a persistent id that is no storage");
    std::vector<PickleRef> items(id.items.begin() + 1, id.items.end());
    if (expect(items[0], Kind::global).integer != static_cast<std::int64_t>(Global::storage))
      refuse("has a storage of a type that is none");
    push(Kind::storage).items = std::move(items);
  }

  // What `callable`, one of the list, makes of `arguments`.
  void reduce() {
    const PickleRef arguments = pop();
    const PickleNode& callable = expect(pop(), Kind::global);
    const auto is = static_cast<Global>(callable.integer);
    const std::vector<PickleRef> given = expect(arguments, Kind::tuple).items;
    const auto need = [&](bool enough) {
      if (!enough) refuse(concat("gives a function ", given.size(), " arguments"));
    };
    switch (is) {
      case Global::ordered_dict:
        need(given.size() <= 1);
        return ordered_dict(given);
      case Global::rebuild_tensor:
        need(given.size() >= 6 && given.size() <= 7);
        push(Kind::tensor).items = given;
        return;
      case Global::rebuild_parameter:
        need(given.size() == 3);
        expect(given[0], Kind::tensor);
        stack_.push_back(given[0]);
        return;
      case Global::size:
        need(given.size() == 1);
        expect(given[0], Kind::tuple);
        stack_.push_back(given[0]);
        return;
      case Global::storage:
        refuse("makes a storage of nothing");
    }
  }
  void ordered_dict(const std::vector<PickleRef>& given) {
    std::vector<PickleRef> items;
    if (!given.empty())
      for (const PickleRef ref : expect(given[0], Kind::list).items) {
        const PickleNode& pair = out_[ref];
        if ((pair.kind != Kind::tuple && pair.kind != Kind::list) || pair.items.size() != 2)
          refuse("makes a dict of what are no pairs");
        items.insert(items.end(), pair.items.begin(), pair.items.end());
        // A list may be given many times.
        if (++pairs_ > kMostNodes) refuse(concat("makes dicts of over ", kMostNodes, " pairs"));
      }
    push(Kind::dict).items = std::move(items);
  }

  void long1() {
    const std::string_view digits = take(number<std::uint8_t>());
    if (digits.size() > 8) {
      push(Kind::big).text = digits;
      return;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < digits.size(); ++i)
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(digits[i])) << (8 * i);
    const int unused = 64 - 8 * static_cast<int>(digits.size());
    if (unused < 64)
      value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
    push_integer(static_cast<std::int64_t>(value));
  }

  void step(std::uint8_t opcode) {
    switch (opcode) {
      case kProto:
        if (const int version = number<std::uint8_t>(); version > 5)
          refuse(concat("is of protocol ", version, ", 0 to 5 are read"));
        return;
      case kFrame:
        if (number<std::uint64_t>() > bytes_.size() - position_) refuse("has a frame cut short");
        return;
      case kMark:
        return marks_.push_back(stack_.size());
      case kNone:
        push(Kind::none);
        return;
      case kNewTrue:
        return push_integer(1, Kind::boolean);
      case kNewFalse:
        return push_integer(0, Kind::boolean);
      case kBinInt:
        return push_integer(number<std::int32_t>());
      case kBinInt1:
        return push_integer(number<std::uint8_t>());
      case kBinInt2:
        return push_integer(number<std::uint16_t>());
      case kLong1:
        return long1();
      case kBinFloat: {  // the only number with its highest byte first
        const auto bits = __builtin_bswap64(number<std::uint64_t>());
        push(Kind::real).real = std::bit_cast<double>(bits);
        return;
      }
      case kBinUnicode:
        return push_text(number<std::uint32_t>());
      case kShortBinUnicode:
        return push_text(number<std::uint8_t>());
      case kEmptyTuple:
        return push_tuple(0);
      case kTuple1:
        return push_tuple(1);
      case kTuple2:
        return push_tuple(2);
      case kTuple3:
        return push_tuple(3);
      case kTuple: {
        std::vector<PickleRef> items = pop_to_mark();
        push(Kind::tuple).items = std::move(items);
        return;
      }
      case kEmptyList:
        push(Kind::list);
        return;
      case kEmptyDict:
        push(Kind::dict);
        return;
      case kAppend: {
        const PickleRef item = pop();
        return append(Kind::list, {item});
      }
      case kAppends:
        return append(Kind::list, pop_to_mark());
      case kSetItem: {
        const PickleRef value = pop(), key = pop();
        return append(Kind::dict, {key, value});
      }
      case kSetItems:
        return append(Kind::dict, pop_to_mark());
      case kBinPut:
        return remember(number<std::uint8_t>());
      case kLongBinPut:
        return remember(number<std::uint32_t>());
      case kMemoize:
        return remember(static_cast<std::uint32_t>(memo_.size()));
      case kBinGet:
        return recall(number<std::uint8_t>());
      case kLongBinGet:
        return recall(number<std::uint32_t>());
      case kGlobal: {
        const std::string_view module = line(), global = line();
        return push_global(module, global);
      }
      case kStackGlobal: {
        const PickleRef global = pop(), module = pop();
        return push_global(expect(module, Kind::text).text, expect(global, Kind::text).text);
      }
      case kBinPersId:
        return persistent_id();
      case kReduce:
        return reduce();
      case kBuild:
        pop();
        if (stack_.size() <= floor()) refuse("builds a value of an empty stack");
        return;
      default:
        refuse(concat("has the instruction ", static_cast<int>(opcode),
                      ", which no file of tensors needs"));
    }
  }

  const std::span<const std::byte> bytes_;
  const std::string& file_;
  std::size_t position_ = 0, begin_ = 0;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleRef> memo_;
  std::size_t pairs_ = 0;
  Pickle out_;
};

}  // namespace

const char* name(PickleNode::Kind kind) {
  constexpr const char* kNames[] = {
      "None",   "a bool",  "a number", "a float",    "a text",    "a number of over 64 bits",
      "a list", "a tuple", "a dict",   "a function", "a storage", "a tensor"};
  return kNames[static_cast<std::size_t>(kind)];
}

Pickle read_pickle(std::span<const std::byte> bytes, const std::string& file) {
  return Machine(bytes, file).run();
}

}  // namespace mote::checkpoint
