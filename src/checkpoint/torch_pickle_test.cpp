#include "checkpoint/torch_pickle.h"

#include <gtest/gtest.h>

#include "base/json_text.h"
#include "tests/support/files.h"
#include "tests/support/pickles.h"

namespace mote::checkpoint {
namespace {

using namespace test::pickles;

fs::path kept(const std::string& name) {
  return test::data_folder() / "pickle" / name;
}

TorchPickle parse(const std::string& bytes) {
  return parse_torch_pickle(std::as_bytes(std::span(bytes)), "some.bin");
}

void expect_refused(const std::string& part, const std::string& bytes) {
  try {
    parse(bytes);
    ADD_FAILURE() << "accepted, expected: " << part;
  } catch (const Error& error) {
    const std::string said = error.what();
    EXPECT_EQ(error.file(), "some.bin");
    EXPECT_NE(said.find(part), std::string::npos) << "expected: " << part << "\nsaid: " << said;
  }
}

std::string hexadecimal(const Tensor& tensor) {
  std::string text;
  for (const std::byte b : tensor.bytes)
    for (const int digit : {std::to_integer<int>(b) >> 4, std::to_integer<int>(b) & 15})
      text += "0123456789abcdef"[digit];
  return text;
}

class TorchPickleForm : public ::testing::TestWithParam<const char*> {};

TEST_P(TorchPickleForm, HasEveryTensorBitForBit) {
  const TorchPickleFile file(kept(GetParam()));
  const Json twin = read_json_object(kept("twin.json").string());
  EXPECT_EQ(file.tensors().size(), twin.size());
  for (const auto& [name, is] : twin.items()) {
    const Tensor& tensor = file.at(name);
    EXPECT_EQ(tensor.shape, is["shape"].get<std::vector<std::int64_t>>()) << name;
    EXPECT_EQ(hexadecimal(tensor), is["bytes"].get<std::string>()) << name;
  }
  EXPECT_EQ(file.at("types.bfloat16").dtype, Dtype::bf16);
  EXPECT_EQ(file.at("types.bool").dtype, Dtype::boolean);
}

TEST_P(TorchPickleForm, KeepsTiesAndCopiesOnlyWhatIsOutOfOrder) {
  const std::string bytes = read_file(kept(GetParam()));
  const TorchPickle contents = parse(bytes);
  const auto begin = [&](const char* name) { return contents.tensors.at(name).bytes.data(); };
  EXPECT_EQ(begin("table"), begin("tied"));
  EXPECT_EQ(begin("slice"), begin("table") + 24);
  EXPECT_EQ(contents.copies.size(), 2u);  // transposed, column
  for (const auto& [name, tensor] : contents.tensors) {
    const bool inside = tensor.bytes.data() >= reinterpret_cast<const std::byte*>(bytes.data()) &&
                        tensor.bytes.data() < reinterpret_cast<const std::byte*>(&*bytes.end());
    EXPECT_EQ(inside, name != "transposed" && name != "column") << name;
  }
}

TEST_P(TorchPickleForm, HasTheValuesThatAreNoTensors) {
  const TorchPickleFile file(kept(GetParam()));
  EXPECT_EQ(file.values().at("steps"), 12);
  EXPECT_EQ(file.values().at("rate"), 0.25);
  EXPECT_EQ(file.values().at("name"), "na\xc3\xafve");
  EXPECT_EQ(file.values().at("flag"), true);
  EXPECT_EQ(file.values().at("nothing"), nullptr);
  EXPECT_EQ(file.values().at("large"), std::int64_t{1} << 40);
  EXPECT_EQ(file.values().at("below"), -5);
  EXPECT_EQ(file.values().at("inside.list.1"), 3);
}

TEST_P(TorchPickleForm, IsRefusedWhereverItIsCutShort) {
  const std::string whole = read_file(kept(GetParam()));
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_THROW(parse(whole.substr(0, n)), Error) << n;
  EXPECT_THROW(parse(whole + "x"), Error);
}

INSTANTIATE_TEST_SUITE_P(Kept, TorchPickleForm, ::testing::Values("zip.pt", "legacy.pt"),
                         [](const auto& each) { return std::string(each.param, 3); });

TEST(TorchPickle, ReadsWhatStateDictGives) {
  const TorchPickleFile file(kept("ordered.pt"));
  EXPECT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.at("0.weight").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_TRUE(file.values().empty());
}

TEST(TorchPickle, ADamagedRecordIsRefusedWhenItIsUsed) {
  const test::TemporaryFolder folder;
  std::string bytes = zip({{"m/data.pkl", state({{"t", tensor("0", 2, 0, {2}, {1})}})},
                           {"m/data/0", std::string(8, 'x')}});
  bytes[bytes.find("xxxx")] = 'y';
  const TorchPickleFile file(folder.file("m.bin", bytes));
  EXPECT_THROW(file.at("t"), Error);
  EXPECT_THROW(file.at("t"), Error);
}

// A pickle that would run something is refused by its name, and nothing is run.
TEST(TorchPickleRefuses, EveryImportButThoseOfTensors) {
  const auto with = [](const std::string& code) {
    return zip({{"m/data.pkl", "\x80\x02" + code}});
  };
  expect_refused("imports 'posix.system'", with("cposix\nsystem\nX\x04\0\0\0true\x85R."s));
  expect_refused("imports 'builtins.eval'", with("cbuiltins\neval\nX\x01\0\0\0\x31\x85R."s));
  expect_refused("imports 'torch._utils._rebuild_tensor_v3'",
                 with("ctorch._utils\n_rebuild_tensor_v3\n."));
  expect_refused("imports 'os.system'", with("\x8c\x02os\x8c\x06system\x93."));
  expect_refused("imports 'collections.OrderedDict.fromkeys'",
                 with("ccollections\nOrderedDict.fromkeys\n."));
  for (const char opcode : {'i', 'o', '\x81', '\x92', '\x82', '\x83', '\x84', 'P', '2', '0', '1'})
    expect_refused("which no file of tensors needs", with(std::string("(") + opcode));
}

TEST(TorchPickleRefuses, FunctionsUsedAsTheyAreNotMeant) {
  const auto with = [](const std::string& code) {
    return zip({{"m/data.pkl", "\x80\x02" + code}});
  };
  expect_refused("makes a storage of nothing", with("ctorch\nFloatStorage\n)R."));
  expect_refused("gives a function 0 arguments", with("ctorch._utils\n_rebuild_tensor_v2\n)R."));
  expect_refused("has None where a tuple belongs", with("ctorch\nSize\nN\x85R."));
  expect_refused("has a number where a function belongs", with("K\x01)R."));
  expect_refused("that is no storage", with("X\x03\0\0\0abc(K\x01K\x02K\x03K\x04tQ."s));
  expect_refused("holds a number, no dict of tensors", with("K\x05."));
  expect_refused("is a storage without a shape", with("}K\x01" + storage("0", 1) + "s."));
  expect_refused("'1': comes twice", with("}(K\x01K\x02K\x01K\x03u."));
}

TEST(TorchPickleRefuses, StackMachinesThatGoWrong) {
  const auto with = [](const std::string& code) {
    return zip({{"m/data.pkl", "\x80\x02" + code}});
  };
  expect_refused("empty stack", with("."));
  expect_refused("empty stack", with("K\x01(a."));
  expect_refused("there is none", with("]e."));
  expect_refused("a key without a value", with("}(K\x01u."));
  expect_refused("which it never stored", with("h\x07."));
  expect_refused("too many on its stack", with("}}."));
  expect_refused("adds to a dict as to a list", with("}K\x01"
                                                     "a."));
  expect_refused("cut short", with("X\xff\0\0\0abc."s));
  expect_refused("of protocol 9", zip({{"m/data.pkl", "\x80\x09}."}}));
  expect_refused("nested deeper than", with(nested(20)));
  expect_refused("nested deeper than", with("]q\0h\0a."s));  // a list inside itself
}

TEST(TorchPickleRefuses, TensorsThatLeaveTheirStorage) {
  const auto with = [](const std::string& description) {
    return zip({{"m/data.pkl", state({{"t", description}})}, {"m/data/0", std::string(16, 'x')}});
  };
  EXPECT_EQ(parse(with(tensor("0", 4, 0, {2, 2}, {2, 1}))).tensors.at("t").num_elements(), 4);
  expect_refused("ends at element 4, its storage has 4", with(tensor("0", 4, 1, {2, 2}, {2, 1})));
  expect_refused("ends at element 7", with(tensor("0", 4, 0, {2, 2}, {6, 1})));
  expect_refused("ends at element", with(tensor("0", 4, 1 << 30, {1}, {1})));
  expect_refused("are too large", with(tensor("0", 4, 0, {2, 3}, {1 << 30, INT64_MAX / 2 + 1})));
  expect_refused("offset -1", with(tensor("0", 4, -1, {1}, {1})));
  expect_refused("stride or offset -1", with(tensor("0", 4, 3, {2}, {-1})));
  expect_refused("stride or offset -2", with(tensor("0", 4, 0, {-2}, {1})));
  expect_refused("is too large", with(tensor("0", 4, 0, {1LL << 40, 1LL << 40}, {0, 0})));
  expect_refused("repeats a storage of 16", with(tensor("0", 4, 0, {1 << 20}, {0})));
  expect_refused("2 sizes and 1 strides", with(tensor("0", 4, 0, {2, 2}, {1})));
  expect_refused("has 16 bytes, 5 elements", with(tensor("0", 5, 0, {2}, {1})));
  expect_refused("'m/data/9', which is missing", with(tensor("9", 4, 0, {2}, {1})));
}

TEST(TorchPickleRefuses, ManyCopiesOfOneStorage) {
  std::vector<std::pair<std::string, std::string>> tensors;
  for (int i = 0; i < 200; ++i)
    tensors.emplace_back("t" + std::to_string(i), tensor("0", 1024, 0, {32, 32}, {1, 32}));
  expect_refused("repeat their storages",
                 zip({{"m/data.pkl", state(tensors)}, {"m/data/0", std::string(4096, 'x')}}));
}

// Few bytes that would become many: texts and lists that are named again and again.
TEST(TorchPickleRefuses, ValuesNamedUntilMemoryIsFull) {
  std::string texts = "\x80\x02](" + text(std::string(60'000, 'x')) + "q\x01";
  for (int i = 0; i < 10'000; ++i) texts += "h\x01";
  expect_refused("names and texts of over", zip({{"m/data.pkl", texts + "e."}}));

  // Each tuple holds the one before it ten times.
  std::string lists = "\x80\x02K\x01";
  for (int depth = 0; depth < 12; ++depth) {
    lists += "q\x01";
    lists.insert(2, "(");
    for (int i = 0; i < 9; ++i) lists += "h\x01";
    lists += "t";
  }
  expect_refused("more than 1000000 values", zip({{"m/data.pkl", lists + "."}}));
}

TEST(TorchPickleRefuses, ArchivesThatTorchDoesNotWrite) {
  const std::string pickle = state({{"t", tensor("0", 2, 0, {2}, {1})}});
  const std::vector<Record> good = {{"m/data.pkl", pickle}, {"m/data/0", "12345678"}};
  const auto changed = [&](const std::function<void(std::vector<Record>&)>& change) {
    std::vector<Record> records = good;
    change(records);
    return zip(records);
  };
  EXPECT_EQ(parse(zip(good)).tensors.size(), 1u);
  expect_refused("is compressed (method 8)", changed([](auto& r) { r[1].method = 8; }));
  expect_refused("is encrypted", changed([](auto& r) { r[1].flags = 1; }));
  expect_refused("comes twice", changed([](auto& r) { r.push_back(r[1]); }));
  expect_refused("of 1000000 bytes is stored in 8", changed([](auto& r) { r[1].size = 1000000; }));
  expect_refused("does not end before the central directory",
                 changed([](auto& r) { r[1].size = r[1].stored = 4000000000u; }));
  expect_refused("they overlap",
                 changed([](auto& r) { r[0].size = r[0].stored = r[0].bytes.size() + 5; }));
  expect_refused("CRC-32", changed([](auto& r) { r[0].crc32 = 1; }));
  expect_refused("another name in its own header",
                 changed([](auto& r) { r[1].local_name = "m/data/1"; }));
  expect_refused("without data.pkl",
                 changed([](auto& r) { r[0].name = r[0].local_name = "m/other.pkl"; }));
  expect_refused("m/data.pkl' and 'n/data.pkl", changed([](auto& r) {
                   r.push_back({"n/data.pkl", "x"});
                 }));
  expect_refused("byteorder is 'big'", changed([](auto& r) {
                   r.push_back({"m/byteorder", "big"});
                 }));
}

TEST(TorchPickleRefuses, WhatIsNoPickle) {
  expect_refused("is no file of torch.save", "");
  expect_refused("is no file of torch.save", "hello");
  expect_refused("has no central directory", "PK\x03\x04 and nothing more");
}

}  // namespace
}  // namespace mote::checkpoint
