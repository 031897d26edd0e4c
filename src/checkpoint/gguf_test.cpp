#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <functional>

#include "checkpoint/gguf_writer.h"
#include "kernels/packed/blocks/blocks.h"
#include "tests/support/contains.h"
#include "tests/support/files.h"
#include "tests/support/ggufs.h"

namespace mote::checkpoint {
namespace {

using test::contains;
using namespace test::ggufs;

fs::path kept(const std::string& name) {
  return test::data_folder() / "gguf" / name;
}

// The same keys and tensors, written in the order of the file.
void write_again(const Gguf& contents, const fs::path& path) {
  GgufKeyList keys;
  for (const auto& [key, value] : contents.keys.all()) keys.add(key, value);
  std::vector<TensorSpec> specs;
  for (const std::string& name : contents.order)
    specs.push_back({name, contents.tensors.at(name).dtype, contents.tensors.at(name).shape});
  GgufWriter writer(path, keys, specs);
  for (const std::string& name : contents.order)
    writer.write(name, contents.tensors.at(name).bytes);
  writer.commit();
}

class GgufTypes : public ::testing::TestWithParam<std::string> {};

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> all(values.size());
  std::memcpy(all.data(), values.data(), 4 * values.size());
  return all;
}

TEST_P(GgufTypes, AreDecodedToTheBitsThatTheReferenceMakes) {
  const GgufFile file(kept(GetParam() + ".gguf"));
  EXPECT_EQ(name(file.at("blocks").dtype), GetParam());
  EXPECT_EQ(bits(file.at("blocks").floats()), bits(file.at("values").copied<float>()));
}

TEST_P(GgufTypes, AreEncodedToTheBytesThatTheReferenceMakes) {
  const GgufFile file(kept(GetParam() + ".gguf"));
  if (!file.has("written")) return;  // read only
  const Tensor& written = file.at("written");
  const std::vector<std::byte> bytes = encoded(written.dtype, file.at("source").copied<float>());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), written.bytes.begin(), written.bytes.end()));
}

TEST_P(GgufTypes, AreWrittenAgainByteForByte) {
  const test::TemporaryFolder folder;
  const GgufFile file(kept(GetParam() + ".gguf"));
  write_again(file.parts().front(), folder.path() / "again.gguf");
  EXPECT_EQ(read_file(folder.path() / "again.gguf"), read_file(kept(GetParam() + ".gguf")));
}

std::vector<std::string> type_names() {
  std::vector<std::string> names;
  for (const kernels::BlockType& type : kernels::block_types()) names.emplace_back(type.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, GgufTypes, ::testing::ValuesIn(type_names()),
                         [](const auto& each) { return each.param; });

TEST(Gguf, EveryTypeOfTheTableIsADtypeOfItsSize) {
  for (const kernels::BlockType& type : kernels::block_types()) {
    bool found = false;
    for (std::size_t i = 0; i < kNumDtypes; ++i) {
      const auto dtype = static_cast<Dtype>(i);
      if (std::string(name(dtype)) != type.name) continue;
      found = true;
      EXPECT_EQ(elements_per_group(dtype), static_cast<std::size_t>(type.elements)) << type.name;
      EXPECT_EQ(bytes_per_group(dtype), static_cast<std::size_t>(type.bytes)) << type.name;
    }
    EXPECT_TRUE(found) << type.name;
  }
}

TEST(Gguf, KeysOfEveryTypeAndPartsOfAModelAreWrittenAgainByteForByte) {
  const test::TemporaryFolder folder;
  for (const char* name : {"keys.gguf", "split-00001-of-00002.gguf", "split-00002-of-00002.gguf"}) {
    const MappedFile file(kept(name));
    write_again(parse_gguf(file.bytes(), name), folder.path() / name);
    EXPECT_EQ(read_file(folder.path() / name), read_file(kept(name)));
  }
}

TEST(Gguf, ReadsKeysOfEveryType) {
  const GgufFile file(kept("keys.gguf"));
  const GgufKeys& keys = file.keys();
  EXPECT_EQ(keys.text("general.architecture"), "llama");
  EXPECT_EQ(keys.integer("k.u8"), 200);
  EXPECT_EQ(keys.integer("k.i8"), -100);
  EXPECT_EQ(keys.integer("k.u16"), 60000);
  EXPECT_EQ(keys.integer("k.i16"), -30000);
  EXPECT_EQ(keys.integer("k.u32"), 4000000000);
  EXPECT_EQ(keys.integer("k.i32"), -2000000000);
  EXPECT_EQ(keys.integer("k.i64"), -(std::int64_t{1} << 62));
  EXPECT_EQ(keys.number("k.u64"), 0x1p63);
  EXPECT_EQ(keys.number("k.f32"), 0.5);
  EXPECT_EQ(keys.number("k.f64"), 0.1);
  EXPECT_TRUE(keys.boolean("k.bool"));
  EXPECT_EQ(keys.text("k.text"), "na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac");
  EXPECT_EQ(keys.integers("k.numbers"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(keys.numbers("k.floats"), (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(keys.texts("k.texts"), (std::vector<std::string_view>{"", "a", "bc"}));
  EXPECT_EQ(keys.find("k.bools")->count, 3u);
  EXPECT_EQ(file.at("rank3").shape, (std::vector<std::int64_t>{3, 4, 5}));
  EXPECT_EQ(file.at("rank4").copied<float>()[119], 119);
}

TEST(Gguf, GettersNameAKeyThatIsMissingOrOfAnotherType) {
  const GgufFile file(kept("keys.gguf"));
  const auto said = [&](const std::function<void(const GgufKeys&)>& get) -> std::string {
    try {
      get(file.keys());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file);
      EXPECT_EQ(error.file(), kept("keys.gguf").string());
      return error.what();
    }
    return "accepted";
  };
  EXPECT_TRUE(contains(said([](auto& k) { k.integer("absent"); }), "no key 'absent'"));
  EXPECT_TRUE(contains(said([](auto& k) { k.integer("k.f32"); }), "'k.f32' holds f32"));
  EXPECT_TRUE(contains(said([](auto& k) { k.integer("k.u64"); }), "'k.u64' holds u64"));
  EXPECT_TRUE(contains(said([](auto& k) { k.integer("k.bool"); }), "'k.bool' holds bool"));
  EXPECT_TRUE(contains(said([](auto& k) { k.number("k.text"); }), "'k.text' holds text"));
  EXPECT_TRUE(contains(said([](auto& k) { k.text("k.u8"); }), "text is needed"));
  EXPECT_TRUE(contains(said([](auto& k) { k.boolean("k.u8"); }), "bool is needed"));
  EXPECT_TRUE(contains(said([](auto& k) { k.integer("k.numbers"); }), "is an array"));
  EXPECT_TRUE(contains(said([](auto& k) { k.integers("k.u8"); }), "is no array"));
  EXPECT_TRUE(contains(said([](auto& k) { k.texts("k.numbers"); }), "text is needed"));
}

Gguf parse(const std::string& bytes) {
  return parse_gguf(std::as_bytes(std::span(bytes)), "some.gguf");
}

std::string refusal(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.file(), "some.gguf");
    return error.what();
  }
  return "accepted";
}

TEST(GgufRefuses, HeadersOfOtherFiles) {
  EXPECT_EQ(refusal(raw_file({}, {}, 0)), "accepted");
  EXPECT_TRUE(contains(refusal("GGML" + std::string(60, 0)), "does not begin with 'GGUF'"));
  EXPECT_TRUE(contains(refusal(raw_header(0, 0, 2)), "GGUF of version 2"));
  EXPECT_TRUE(contains(refusal(raw_header(0, 0, 0x03000000)), "is big-endian"));
  EXPECT_TRUE(contains(refusal(raw_header(std::uint64_t{1} << 40, 0)), "1099511627776 tensors"));
  EXPECT_TRUE(contains(refusal(raw_header(0, ~std::uint64_t{0})), "18446744073709551615 keys"));
  EXPECT_TRUE(contains(refusal(raw_header(1, 0)), "cut short"));
}

TEST(GgufRefuses, KeysThatTheFormatDoesNotHave) {
  const auto with = [](const std::vector<std::string>& keys) {
    return refusal(raw_file(keys, {}, 0));
  };
  const std::string one = raw_key("k", 4, raw(std::uint32_t{1}));
  EXPECT_EQ(with({one}), "accepted");
  EXPECT_TRUE(contains(with({one, one}), "the key 'k' twice"));
  EXPECT_TRUE(contains(with({raw_key("k", 13, "")}), "has the type 13"));
  EXPECT_TRUE(contains(with({raw_key("k", 7, "\x02")}), "a bool that is 2"));
  EXPECT_TRUE(
      contains(with({raw_key("k", 9, raw(9u) + raw(std::uint64_t{0}))}), "an array of arrays"));
  EXPECT_TRUE(
      contains(with({raw_key("general.alignment", 4, raw(std::uint32_t{0}))}), "is 0, no power"));
  EXPECT_TRUE(
      contains(with({raw_key("general.alignment", 4, raw(std::uint32_t{48}))}), "is 48, no power"));
  EXPECT_TRUE(contains(with({raw_key("general.alignment", 10, raw(std::uint64_t{32}))}),
                       "is u64, not u32"));
}

// Before anything of such a size is allocated: a test under a limit on memory would die.
TEST(GgufRefuses, AbsurdLengths) {
  const auto with = [](const std::string& key) { return refusal(raw_file({key}, {}, 0)); };
  for (const std::uint64_t size :
       {~std::uint64_t{0}, std::uint64_t{1} << 62, std::uint64_t{1} << 33}) {
    EXPECT_TRUE(contains(with(raw_key("k", 8, raw(size))), "cut short"));
    EXPECT_TRUE(contains(with(raw(size) + "k"), "over 65535"));
    for (const std::uint32_t type : {0u, 4u, 8u, 12u})
      EXPECT_TRUE(contains(with(raw_key("k", 9, raw(type) + raw(size))), "cut short"));
  }
  const auto shaped = [](const std::vector<std::uint64_t>& dims) {
    return refusal(raw_file({}, {raw_tensor("t", dims, 0, 0)}, 64));
  };
  EXPECT_TRUE(contains(shaped({std::uint64_t{INT64_MAX}, 2}), "is too large"));
  EXPECT_TRUE(contains(shaped({(std::uint64_t{1} << 42) + 1}), "it is cut short"));
  EXPECT_TRUE(contains(shaped({~std::uint64_t{0}}), "over 2^63 - 1"));
  EXPECT_TRUE(contains(shaped({std::uint64_t{1} << 32, std::uint64_t{1} << 32}), "is too large"));
  EXPECT_TRUE(contains(refusal(raw_file({}, {raw_text("t") + raw(1'000'000u)}, 64)),
                       "has 1000000 axes, over 4"));
}

TEST(GgufRefuses, TensorsThatDoNotFollowEachOther) {
  const std::string a = raw_tensor("a", {8}, 0, 0), b = raw_tensor("b", {8}, 0, 32);
  EXPECT_EQ(refusal(raw_file({}, {a, b}, 64)), "accepted");
  EXPECT_TRUE(contains(refusal(raw_file({}, {a, raw_tensor("b", {8}, 0, 64)}, 96)),
                       "starts at 64, the one before it ends at 32"));
  EXPECT_TRUE(contains(refusal(raw_file({}, {a, raw_tensor("b", {8}, 0, 0)}, 64)), "starts at 0"));
  EXPECT_TRUE(contains(refusal(raw_file({}, {a, raw_tensor("a", {8}, 0, 32)}, 64)), "'a' twice"));
  EXPECT_TRUE(contains(refusal(raw_file({}, {a, b}, 63)), "it is cut short"));
  EXPECT_TRUE(contains(refusal(raw_file({}, {a, b}, 65)), "something was added"));
  EXPECT_EQ(refusal(raw_file({}, {raw_tensor(std::string(63, 'n'), {8}, 0, 0)}, 32)), "accepted");
  EXPECT_TRUE(contains(refusal(raw_file({}, {raw_tensor(std::string(65, 'n'), {8}, 0, 0)}, 32)),
                       "has 65 bytes, over 63"));
  EXPECT_TRUE(contains(refusal(raw_file({}, {raw_tensor("t", {255}, 35, 0)}, 66)),
                       "has rows of 255, which blocks of 256 do not fill"));
  EXPECT_TRUE(
      contains(refusal(raw_file({}, {raw_tensor("t", {1, 1, 1, 1, 1}, 0, 0)}, 32)), "has 5 axes"));
}

TEST(GgufRefuses, TypesThatItDoesNotReadByTheirNames) {
  const std::pair<std::uint32_t, const char*> types[] = {
      {9, "Q8_1"},  {16, "IQ2_XXS"}, {23, "IQ4_XS"},        {26, "I32"},  {40, "NVFP4"},
      {41, "Q1_0"}, {42, "Q2_0"},    {142, "two meanings"}, {143, "143"}, {77, "77"}};
  for (const auto& [id, name] : types) {
    const std::string said = refusal(raw_file({}, {raw_tensor("t", {256}, id, 0)}, 1024));
    EXPECT_TRUE(contains(said, name));
    EXPECT_TRUE(contains(said, "these are read: F32, F16, Q4_0"));
  }
}

TEST(GgufRefuses, EveryPrefixOfAFile) {
  const std::string whole = read_file(kept("keys.gguf"));
  for (std::size_t n = 0; n + 31 < whole.size(); ++n)
    EXPECT_THROW(parse(whole.substr(0, n)), Error);
}

TEST(Gguf, ReadsATensorAtAnyAddress) {
  const std::string file = raw_header(1, 1) +
                           raw_key("general.alignment", 4, raw(std::uint32_t{1})) +
                           raw_tensor("t", {1}, 0, 0) + raw(1.5f);
  for (std::size_t shift = 0; shift < 4; ++shift) {
    const std::string moved = std::string(shift, 'x') + file;
    const Gguf contents = parse_gguf(std::as_bytes(std::span(moved)).subspan(shift), "some.gguf");
    EXPECT_EQ(contents.tensors.at("t").floats(), std::vector<float>{1.5f});
  }
}

TEST(GgufWriter, RefusesWhatReadersRefuse) {
  const test::TemporaryFolder folder;
  const auto with = [&](const std::vector<TensorSpec>& specs) {
    GgufWriter(folder.path() / "x.gguf", {}, specs);
  };
  EXPECT_THROW(with({{"t", Dtype::i32, {4}}}), Error);
  EXPECT_THROW(with({{"t", Dtype::q8_0, {4}}}), Error);
  EXPECT_THROW(with({{"t", Dtype::f32, {1, 1, 1, 1, 1}}}), Error);
  EXPECT_THROW(with({{std::string(64, 'n'), Dtype::f32, {4}}}), Error);
  EXPECT_THROW(with({{"t", Dtype::f32, {4}}, {"t", Dtype::f32, {4}}}), Error);
  GgufKeyList keys;
  keys.add("k", 1);
  EXPECT_THROW(keys.add("k", 1), Error);
  EXPECT_THROW(keys.add("general.alignment", std::uint32_t{48}), Error);
}

TEST(GgufWriter, WritesKeysOfEveryTypeAndTheAlignmentThatIsAsked) {
  const test::TemporaryFolder folder;
  GgufKeyList keys;
  keys.add("general.alignment", std::uint32_t{128});
  keys.add("u8", std::uint8_t{255});
  keys.add("i64", std::int64_t{-1});
  keys.add("f64", 0.1);
  keys.add("bool", true);
  keys.add_text("text", "abc");
  keys.add_texts("texts", {"", "x"});
  keys.add_array("floats", std::vector<float>{1, 2});
  const std::vector<TensorSpec> specs = {{"a", Dtype::f16, {3, 5}}, {"b", Dtype::f32, {}}};
  GgufWriter writer(folder.path() / "x.gguf", keys, specs);
  writer.write("a", std::vector<std::byte>(30));
  writer.write("b", encoded(Dtype::f32, std::vector<float>{7}));
  writer.commit();
  const GgufFile file(folder.path() / "x.gguf");
  EXPECT_EQ(file.keys().integer("u8"), 255);
  EXPECT_EQ(file.keys().integer("i64"), -1);
  EXPECT_EQ(file.keys().number("f64"), 0.1);
  EXPECT_TRUE(file.keys().boolean("bool"));
  EXPECT_EQ(file.keys().text("text"), "abc");
  EXPECT_EQ(file.keys().texts("texts"), (std::vector<std::string_view>{"", "x"}));
  EXPECT_EQ(file.keys().numbers("floats"), (std::vector<double>{1, 2}));
  EXPECT_EQ(file.at("a").shape, (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.at("b").bytes.data()) % 128, 0u);
  EXPECT_EQ(file.at("b").copied<float>(), std::vector<float>{7});
}

}  // namespace
}  // namespace mote::checkpoint
