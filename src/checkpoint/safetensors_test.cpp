#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <numeric>

#include "tests/support/files.h"

namespace mote::checkpoint {
namespace {

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

Safetensors parse(const std::string& bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes)), "some.safetensors");
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}

// The message with which `bytes` is refused, after the file and tensor have been checked.
std::string refusal(const std::string& bytes, const std::string& tensor = "") {
  try {
    parse(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::file);
    EXPECT_EQ(error.file(), "some.safetensors");
    EXPECT_EQ(error.field(), tensor);
    EXPECT_NE(std::string(error.what()).find("some.safetensors"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(tensor), std::string::npos);
    return error.what();
  }
  return "accepted";
}

void expect_refused(const std::string& part, const std::string& bytes,
                    const std::string& tensor = "") {
  const std::string said = refusal(bytes, tensor);
  EXPECT_NE(said.find(part), std::string::npos) << "expected: " << part << "\nsaid: " << said;
}

class SafetensorsWritten : public ::testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "x.safetensors"; }

 private:
  test::TemporaryFolder folder_;
};

template <class T>
std::vector<T> counted(std::size_t n) {
  std::vector<T> values(n);
  std::iota(values.begin(), values.end(), T{1});
  return values;
}

TEST(Safetensors, ReadsNamesTypesShapesAndBytes) {
  const std::string bytes =
      file_of("{\"__metadata__\":{\"format\":\"pt\"}," + entry("b", "I16", "3", "8,14") + "," +
                  entry("a", "F32", "2,1", "0,8") + "," + entry("one", "BOOL", "", "14,15") + "} ",
              std::string("\0\0\x80\x3f\0\0\0\xc0\x01\0\x02\0\xff\xff\x01", 15));
  const Safetensors contents = parse(bytes);
  EXPECT_EQ(contents.metadata.at("format"), "pt");
  ASSERT_EQ(contents.tensors.size(), 3u);
  EXPECT_EQ(contents.tensors.at("a").copied<float>(), (std::vector<float>{1, -2}));
  EXPECT_EQ(contents.tensors.at("a").shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(contents.tensors.at("b").copied<std::int16_t>(), (std::vector<std::int16_t>{1, 2, -1}));
  EXPECT_EQ(contents.tensors.at("one").shape.size(), 0u);
  EXPECT_EQ(contents.tensors.at("one").num_elements(), 1);
}

// The dtypes of the format, and how many bits each has.
const std::pair<const char*, int> kFormatDtypes[] = {
    {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},
    {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},     {"F8_E4M3FNUZ", 8},
    {"I16", 16}, {"U16", 16},    {"F16", 16},    {"F8_E5M2FNUZ", 8}, {"BF16", 16},
    {"I32", 32}, {"U32", 32},    {"F32", 32},    {"C64", 64},        {"F64", 64},
    {"I64", 64}, {"U64", 64}};

TEST(Safetensors, EveryDtypeHasItsNameAndSize) {
  std::size_t in_format = 0;
  for (std::size_t i = 0; i < kNumDtypes; ++i) in_format += in_safetensors(static_cast<Dtype>(i));
  EXPECT_EQ(in_format, std::size(kFormatDtypes));
  for (const auto& [dtype, bits] : kFormatDtypes) {
    const std::string bytes = file_of("{" + entry("t", dtype, "4", concat("0,", bits / 2)) + "}",
                                      std::string(static_cast<std::size_t>(bits / 2), 'x'));
    const Safetensors contents = parse(bytes);
    EXPECT_STREQ(name(contents.tensors.at("t").dtype), dtype);
    EXPECT_EQ(contents.tensors.at("t").num_elements(), 4);
    EXPECT_EQ(bits_per_element(contents.tensors.at("t").dtype), bits);
  }
}

TEST(Safetensors, TheShapeOfF4CountsElementsAndNotBytes) {
  const std::string bytes = file_of("{" + entry("t", "F4", "2,8", "0,8") + "}", "12345678");
  EXPECT_EQ(parse(bytes).tensors.at("t").num_elements(), 16);
  expect_refused("has 3 elements, which come in groups of 2",
                 file_of("{" + entry("t", "F4", "3", "0,1") + "}", "1"), "t");
  expect_refused("has 6 elements, which come in groups of 4",
                 file_of("{" + entry("t", "F6_E3M2", "6", "0,5") + "}", "12345"), "t");
}

TEST(Safetensors, KnowsNoBlocksOfGguf) {
  expect_refused("dtype 'Q8_0' is not one of",
                 file_of("{" + entry("t", "Q8_0", "32", "0,34") + "}", std::string(34, 'x')), "t");
}

TEST(Safetensors, AcceptsNoTensorsAndEmptyTensors) {
  EXPECT_TRUE(parse(file_of("{}", "")).tensors.empty());
  const std::string bytes = file_of(
      "{" + entry("e", "F64", "0,5", "0,0") + "," + entry("z", "U8", "2", "0,2") + "}", "ab");
  EXPECT_EQ(parse(bytes).tensors.at("e").num_elements(), 0);
}

TEST(Safetensors, LeavesPaddingOut) {
  const std::string header =
      "{" + entry("t", "U8", "2", "0,2") + "," + entry("__pad.0", "U8", "2", "2,4") + "}";
  const std::string bytes = file_of(header, std::string("ab\0\0", 4));
  EXPECT_EQ(parse(bytes).tensors.size(), 1u);
}

TEST(Safetensors, RefusesTypedReadsOfAnotherElementSize) {
  const std::string bytes = file_of("{" + entry("t", "F32", "2", "0,8") + "}", "12345678");
  const Safetensors contents = parse(bytes);
  EXPECT_THROW(contents.tensors.at("t").elements<double>(), Error);
  EXPECT_THROW(contents.tensors.at("t").copied<std::uint8_t>(), Error);
}

TEST(Safetensors, RefusesMisalignedElementsButCopiesThem) {
  const std::string header =
      "{" + entry("c", "U8", "1", "0,1") + "," + entry("t", "F32", "1", "1,5") + "}";
  const std::string bytes = file_of(header, std::string("x\0\0\x80\x3f", 5));
  const Safetensors contents = parse(bytes);
  const Tensor& tensor = contents.tensors.at("t");
  EXPECT_EQ(tensor.copied<float>(), std::vector<float>{1});
  if (reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % 4 != 0) {
    EXPECT_THROW(tensor.elements<float>(), Error);
  }
}

TEST(SafetensorsRefuses, PaddingThatIsNotAsItIsWritten) {
  const auto file_with = [](const std::string& name, const char* dtype, const std::string& shape,
                            int bytes) {
    const std::string end = std::to_string(2 + bytes);
    return file_of(
        "{" + entry("t", "U8", "2", "0,2") + "," + entry(name, dtype, shape, "2," + end) + "}",
        std::string(static_cast<std::size_t>(2 + bytes), '\0'));
  };
  EXPECT_EQ(parse(file_with("__pad.0", "U8", "63", 63)).tensors.size(), 1u);
  const auto refuse = [&](const std::string& name, const char* dtype, const std::string& shape,
                          int bytes) {
    expect_refused("1 to 63 bytes of U8", file_with(name, dtype, shape, bytes), name);
  };
  refuse("__pad.0", "U8", "64", 64);
  refuse("__pad.0", "U8", "0", 0);
  refuse("__pad.0", "F32", "2", 8);
  refuse("__pad.0", "U8", "2,2", 4);
  refuse("__pad.0", "U8", "", 1);
  refuse("__pad.", "U8", "2", 2);
  refuse("__pad.blocks.0.norm", "U8", "2", 2);
}

TEST(SafetensorsRefuses, FilesCutShort) {
  const std::string whole = file_of("{" + entry("t", "F32", "2", "0,8") + "}", "12345678");
  expect_refused("at least 8", whole.substr(0, 0));
  expect_refused("at least 8", whole.substr(0, 7));
  expect_refused("cut short", whole.substr(0, 20));
  expect_refused("cut short or damaged", whole.substr(0, whole.size() - 1), "t");
}

TEST(SafetensorsRefuses, EveryPrefixOfAFile) {
  const std::string whole = file_of("{" + entry("t", "F32", "2", "0,8") + "}", "12345678");
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_THROW(parse(whole.substr(0, n)), Error);
}

TEST(SafetensorsRefuses, HugeHeaderLengths) {
  for (std::uint64_t length : {std::uint64_t{100'000'001}, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    std::string bytes = file_of("{}", "");
    std::memcpy(bytes.data(), &length, sizeof length);
    expect_refused("the format allows", bytes);
  }
}

TEST(SafetensorsRefuses, OffsetsThatOverlapLeaveGapsOrEndOutside) {
  const auto two = [](const std::string& a, const std::string& b) {
    return file_of("{" + entry("a", "U8", "4", a) + "," + entry("b", "U8", "4", b) + "}",
                   "12345678");
  };
  EXPECT_EQ(refusal(two("4,8", "0,4")), "accepted");
  expect_refused("overlap", two("0,4", "3,7"), "b");
  expect_refused("overlap", two("0,4", "0,4"), "b");
  expect_refused("gap", file_of("{" + entry("a", "U8", "4", "1,5") + "}", "12345"), "a");
  expect_refused("cover 4 of 8", file_of("{" + entry("a", "U8", "4", "0,4") + "}", "12345678"));
  expect_refused("the file's data at 8", two("0,4", "5,9"), "b");
  expect_refused("begin at 8 and end at 4", two("8,4", "0,4"), "a");
}

TEST(SafetensorsRefuses, ShapesThatDoNotMatchTheirBytes) {
  const auto one = [](const std::string& dtype, const std::string& shape) {
    return file_of("{" + entry("t", dtype, shape, "0,8") + "}", "12345678");
  };
  expect_refused("needs 12 bytes, data_offsets give 8", one("F32", "3"), "t");
  expect_refused("needs 2 bytes, data_offsets give 8", one("F16", ""), "t");
  expect_refused("too large", one("U8", "4294967296,4294967296"), "t");
  expect_refused("too large", one("F64", "2305843009213693952"), "t");
  expect_refused("63 bits", one("U8", "18446744073709551615"), "t");
  expect_refused("whole numbers", one("U8", "-8"), "t");
  expect_refused("whole numbers", one("U8", "8.0"), "t");
  expect_refused("whole numbers", one("U8", "99999999999999999999999"), "t");
  std::string axes = "8";
  for (int i = 0; i < 32; ++i) axes += ",1";
  expect_refused("axes", one("U8", axes), "t");
}

TEST(SafetensorsRefuses, UnknownTypesAndKeys) {
  expect_refused("dtype 'F31' is not one of F64",
                 file_of("{" + entry("t", "F31", "2", "0,8") + "}", "12345678"), "t");
  expect_refused("key 'stride'", file_of("{\"t\":{\"stride\":1}}", ""), "t");
  expect_refused("has no dtype", file_of("{\"t\":{\"shape\":[0],\"data_offsets\":[0,0]}}", ""),
                 "t");
  expect_refused("has no shape", file_of("{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", ""),
                 "t");
  expect_refused("has no data_offsets", file_of("{\"t\":{\"dtype\":\"U8\",\"shape\":[0]}}", ""),
                 "t");
  expect_refused("instead of two", file_of("{" + entry("t", "U8", "0", "0") + "}", ""), "t");
  expect_refused("over two", file_of("{" + entry("t", "U8", "0", "0,0,0") + "}", ""), "t");
}

TEST(SafetensorsRefuses, RepeatedNames) {
  expect_refused(
      "appears twice",
      file_of("{" + entry("t", "U8", "0", "0,0") + "," + entry("t", "U8", "0", "0,0") + "}", ""),
      "t");
  expect_refused("key 'dtype' appears twice",
                 file_of("{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", ""), "t");
  expect_refused("appears twice", file_of("{\"__metadata__\":{},\"__metadata__\":{}}", ""),
                 "__metadata__");
}

TEST(SafetensorsRefuses, HeadersThatAreNotTheJsonOfTheFormat) {
  expect_refused("does not begin with '{'", file_of("", ""));
  expect_refused("does not begin with '{'", file_of(" {}", ""));
  expect_refused("does not begin with '{'", file_of("[]", ""));
  expect_refused("does not begin with '{'", file_of("1", ""));
  expect_refused("does not begin with '{'", file_of("null", ""));
  expect_refused("not JSON", file_of("{", ""));
  expect_refused("not JSON", file_of("{} x", ""));
  expect_refused("not JSON", file_of("{\"t\xff\":1}", ""));
  expect_refused("not JSON", file_of("{\"\xc0\xaf\":1}", ""));
  expect_refused("found null", file_of("{\"t\":null}", ""), "t");
  expect_refused("found text", file_of("{\"t\":\"x\"}", ""), "t");
  expect_refused("found true", file_of("{\"t\":{\"dtype\":true}}", ""), "t");
  expect_refused("found a list", file_of("{\"t\":{\"dtype\":[]}}", ""), "t");
  expect_refused("found text", file_of("{\"t\":{\"shape\":\"x\"}}", ""), "t");
  expect_refused("found the number", file_of("{\"__metadata__\":{\"k\":1}}", ""), "__metadata__");
}

TEST(SafetensorsRefuses, MoreMetadataThanAnyFileHas) {
  const auto with = [](int entries) {
    std::string metadata;
    for (int i = 0; i < entries; ++i) metadata += concat(i ? ",\"" : "\"", i, "\":\"\"");
    return file_of("{\"__metadata__\":{" + metadata + "}}", "");
  };
  EXPECT_EQ(refusal(with(10'000)), "accepted");
  expect_refused("more than 10000 entries", with(10'001), "__metadata__");
}

TEST(SafetensorsRefuses, MoreTensorsThanAnyModelHas) {
  std::string header = "{";
  for (int i = 0; i <= 1'000'000; ++i)
    header += (i > 0 ? "," : "") + entry(std::to_string(i), "U8", "0", "0,0");
  expect_refused("names more than 1000000 tensors", file_of(header + "}", ""));
}

TEST(SafetensorsRefuses, DeepNestingWithoutDeepRecursion) {
  std::string lists = "{\"t\":{\"shape\":", tables;
  for (int i = 0; i < 200'000; ++i) lists += "[", tables += "{\"t\":";
  expect_refused("found a list", file_of(lists, ""), "t");
  expect_refused("key 't'", file_of(tables, ""), "t");
}

// Any change of one byte of the header is refused or leaves every tensor inside the data.
RC_GTEST_PROP(SafetensorsProperty, OneChangedByteNeverLeavesTheFile, ()) {
  std::string bytes =
      file_of("{" + entry("a", "F32", "2,3", "0,24") + "," + entry("b", "U8", "8", "24,32") + "}",
              std::string(32, 'x'));
  const auto at = *rc::gen::inRange<std::size_t>(0, bytes.size() - 32);
  bytes[at] = *rc::gen::arbitrary<char>();
  try {
    const Safetensors contents = parse(bytes);
    for (const auto& [name, tensor] : contents.tensors) {
      const char* data = reinterpret_cast<const char*>(tensor.bytes.data());
      RC_ASSERT(data >= bytes.data() && data + tensor.bytes.size() <= bytes.data() + bytes.size());
    }
  } catch (const Error&) {
  }
}

TEST_F(SafetensorsWritten, ReadBackEqual) {
  const auto floats = counted<float>(35);
  const auto codes = counted<std::uint16_t>(7);
  {
    SafetensorsWriter writer(path(),
                             {{"layer.0.weight", Dtype::f32, {5, 7}},
                              {"codes", Dtype::u16, {7}},
                              {"nothing", Dtype::f32, {0, 3}},
                              {"scalar", Dtype::bf16, {}}},
                             {{"format", "pt"}, {"source", "a \"test\""}});
    const auto bytes = std::as_bytes(std::span(floats));
    writer.write("layer.0.weight", bytes.first(50));
    writer.write("layer.0.weight", bytes.subspan(50));
    writer.write("codes", std::as_bytes(std::span(codes)));
    writer.write("scalar", std::as_bytes(std::span(codes).first(1)));
    writer.commit();
  }
  const SafetensorsFile file(path());
  EXPECT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.metadata().at("source"), "a \"test\"");
  EXPECT_EQ(file.at("layer.0.weight").copied<float>(), floats);
  EXPECT_EQ(file.at("codes").copied<std::uint16_t>(), codes);
  EXPECT_EQ(file.at("nothing").shape, (std::vector<std::int64_t>{0, 3}));
  EXPECT_TRUE(file.has("scalar"));
  EXPECT_FALSE(file.has("__pad.0"));
}

TEST_F(SafetensorsWritten, EveryTensorStartsAtAMultipleOf64) {
  std::vector<TensorSpec> specs;
  for (std::int64_t n : {1, 63, 64, 65, 7, 128, 0, 3})
    specs.push_back({"t" + std::to_string(n), Dtype::u8, {n}});
  SafetensorsWriter writer(path(), specs);
  for (const TensorSpec& spec : specs) {
    const auto values = counted<std::uint8_t>(static_cast<std::size_t>(spec.shape[0]));
    writer.write(spec.name, std::as_bytes(std::span(values)));
  }
  writer.commit();
  const SafetensorsFile file(path());
  ASSERT_EQ(file.tensors().size(), specs.size());
  for (const auto& [name, tensor] : file.tensors())
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % 64, 0u) << name;
}

TEST_F(SafetensorsWritten, ForOtherProgramsTensorsTouch) {
  SafetensorsWriter writer(path(), {{"a", Dtype::u8, {3}}, {"b", Dtype::f32, {2}}}, {},
                           Padding::none);
  const auto codes = counted<std::uint8_t>(3);
  const auto floats = counted<float>(2);
  writer.write("a", std::as_bytes(std::span(codes)));
  writer.write("b", std::as_bytes(std::span(floats)));
  writer.commit();
  const SafetensorsFile file(path());
  EXPECT_EQ(file.at("a").bytes.data() + 3, file.at("b").bytes.data());
  EXPECT_EQ(file.at("b").copied<float>(), floats);
  EXPECT_EQ(read_file(path()).find("__pad"), std::string::npos);
}

TEST_F(SafetensorsWritten, NothingAppearsBeforeCommit) {
  {
    SafetensorsWriter writer(path(), {{"t", Dtype::u8, {2}}});
    const std::uint8_t one = 1;
    writer.write("t", std::as_bytes(std::span(&one, 1)));
    EXPECT_THROW(writer.commit(), Error);
    EXPECT_FALSE(fs::exists(path()));
  }
  EXPECT_TRUE(fs::is_empty(path().parent_path()));
}

TEST_F(SafetensorsWritten, RefusesBytesOutOfTurn) {
  SafetensorsWriter writer(path(), {{"a", Dtype::u8, {2}}, {"b", Dtype::u8, {2}}});
  const auto values = counted<std::uint8_t>(3);
  const auto bytes = std::as_bytes(std::span(values));
  EXPECT_THROW(writer.write("b", bytes.first(2)), Error);
  EXPECT_THROW(writer.write("a", bytes), Error);
  writer.write("a", bytes.first(2));
  EXPECT_THROW(writer.write("c", bytes.first(1)), Error);
}

TEST_F(SafetensorsWritten, RefusesBadNamesAndShapes) {
  EXPECT_THROW(SafetensorsWriter(path(), {{"a", Dtype::u8, {1}}, {"a", Dtype::u8, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"__metadata__", Dtype::u8, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"__pad.7", Dtype::u8, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"\xff", Dtype::u8, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"a", Dtype::u8, {-1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"a", Dtype::f64, {1LL << 62}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"a", Dtype::u8, {0, 1LL << 62, 1LL << 62}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"a", Dtype::u8, {1LL << 62, 1LL << 62, 0}}}), Error);
}

TEST_F(SafetensorsWritten, AMissingTensorIsNamedWithTheNearest) {
  SafetensorsWriter writer(path(), {{"layer.0.weight", Dtype::u8, {0}}});
  writer.commit();
  const SafetensorsFile file(path());
  try {
    file.at("layer.0.wieght");
    FAIL() << "found a tensor that is not there";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("layer.0.weight"), std::string::npos) << error.what();
    EXPECT_EQ(error.field(), "layer.0.wieght");
  }
}

// Files written by the format's own library, where the reference fixtures are at hand.
TEST(FixturesSafetensors, EveryFileParses) {
  const fs::path folder = test::fixtures_folder();
  if (!fs::is_directory(folder)) GTEST_SKIP() << "no fixtures at " << folder;
  int files = 0;
  for (const auto& found : fs::recursive_directory_iterator(folder)) {
    if (found.path().extension() != ".safetensors") continue;
    const SafetensorsFile file(found.path());
    EXPECT_FALSE(file.tensors().empty()) << found.path();
    ++files;
  }
  if (files == 0) GTEST_SKIP() << "no .safetensors files below " << folder;
}

// Written, read and written again in the order and with the metadata of the file.
TEST_F(SafetensorsWritten, IsWrittenAgainByteForByteWithEveryDtype) {
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < kNumDtypes; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    if (!in_safetensors(dtype)) continue;
    specs.push_back({concat("z", kNumDtypes - i), dtype, {3, 4}});
    specs.push_back({concat("none", i), dtype, {0, 4}});
    if (elements_per_group(dtype) == 1) specs.push_back({concat("one", i), dtype, {}});
  }
  SafetensorsWriter writer(path(), specs, {{"format", "pt"}, {"a", "b"}});
  for (std::size_t i = 0; i < specs.size(); ++i)
    writer.write(specs[i].name, std::vector<std::byte>(num_bytes(specs[i]), std::byte(i)));
  writer.commit();

  const fs::path again = path().parent_path() / "again.safetensors";
  {
    const SafetensorsFile file(path());
    std::vector<TensorSpec> same;
    for (const std::string& name : file.order())
      same.push_back({name, file.at(name).dtype, file.at(name).shape});
    SafetensorsWriter second(again, same, file.metadata());
    for (const std::string& name : file.order()) second.write(name, file.at(name).bytes);
    second.commit();
  }
  EXPECT_EQ(read_file(again), read_file(path()));
}

TEST_F(SafetensorsWritten, RefusesTypesAndNamesThatReadersRefuse) {
  EXPECT_THROW(SafetensorsWriter(path(), {{"t", Dtype::q8_0, {32}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{std::string(4097, 'n'), Dtype::u8, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path(), {{"t", Dtype::f4, {3}}}), Error);
}

TEST(SafetensorsRefuses, NamesOfOver4096Bytes) {
  const std::string name(4096, 'n');
  EXPECT_EQ(refusal(file_of("{" + entry(name, "U8", "0", "0,0") + "}", "")), "accepted");
  expect_refused("a name of 4097 bytes",
                 file_of("{" + entry(name + "n", "U8", "0", "0,0") + "}", ""));
}

}  // namespace
}  // namespace mote::checkpoint
