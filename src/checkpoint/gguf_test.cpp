#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include "checkpoint/gguf_writer.h"
#include "kernels/packed/blocks/blocks.h"
#include "tests/support/files.h"

namespace mote::checkpoint {
namespace {

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

}  // namespace
}  // namespace mote::checkpoint
