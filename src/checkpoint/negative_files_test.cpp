// Files that must be refused, each with an error of its own: a reader that stops at one check for
// the reason of another would pass any other test.
#include <gtest/gtest.h>

#include <map>

#include "checkpoint/tensor_source.h"
#include "tests/support/contains.h"
#include "tests/support/files.h"
#include "tests/support/ggufs.h"
#include "tests/support/pickles.h"

namespace mote::checkpoint {
namespace {

using namespace test::ggufs;
using namespace test::pickles;

struct Case {
  const char* name;
  const char* file;
  std::string bytes;
  const char* says;
};

std::string headed(const std::string& header, const std::string& data,
                   std::uint64_t length_off = 0) {
  return raw(std::uint64_t{header.size()} + length_off) + header + data;
}
std::string tensor_entry(const std::string& name, const std::string& dtype,
                         const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}
// Of one tensor.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets,
                std::size_t data) {
  return headed("{" + tensor_entry("t", dtype, shape, offsets) + "}", std::string(data, 'x'));
}
std::string two(const std::string& a, const std::string& b, std::size_t data) {
  return headed("{" + tensor_entry("a", "U8", "4", a) + "," + tensor_entry("b", "U8", "4", b) + "}",
                std::string(data, 'x'));
}
std::string pickled(const std::string& description) {
  return zip({{"m/data.pkl", state({{"t", description}})}, {"m/data/0", std::string(16, 'x')}});
}

std::vector<Case> cases() {
  Record deflated("m/data.pkl", "\x80\x02}."), bomb("m/data/0", std::string(8, 'x'));
  deflated.method = 8;
  bomb.size = bomb.stored = 4'000'000'000;
  const std::string key = raw_key("k", 4, raw(std::uint32_t{1}));
  const auto aligned = [](std::uint32_t to) {
    return raw_file({raw_key("general.alignment", 4, raw(to))}, {}, 0);
  };
  return {
      {"empty", "x.safetensors", "", "has 0 bytes"},
      {"header_of_2^63_bytes", "x.safetensors", raw(std::uint64_t{1} << 63) + "{}",
       "9223372036854775808 bytes, the format allows"},
      {"header_of_the_files_size", "x.safetensors", headed("{}", "", 8), "after the length"},
      {"header_not_utf8", "x.safetensors", headed("{\"t\xff\":1}", ""), "is not JSON"},
      {"header_a_list", "x.safetensors", headed("[]", ""), "does not begin with '{'"},
      {"duplicate_key", "x.safetensors",
       headed("{" + tensor_entry("t", "U8", "1", "0,1") + "," +
                  tensor_entry("t", "U8", "1", "1,2") + "}",
              "xx"),
       "appears twice"},
      {"hole", "x.safetensors", two("0,4", "5,9", 9), "a gap"},
      {"overlap", "x.safetensors", two("0,4", "3,7", 7), "they overlap"},
      {"end_before_begin", "x.safetensors", one("U8", "4", "8,4", 8), "begin at 8 and end at 4"},
      {"wrong_size", "x.safetensors", one("F32", "2", "0,4", 4), "needs 8 bytes"},
      {"product_overflows", "x.safetensors", one("F32", "4294967296,4294967296", "0,4", 4),
       "is too large"},
      {"trailing_byte", "x.safetensors", one("U8", "4", "0,4", 5), "cover 4 of 5"},
      {"two_bytes_missing", "x.safetensors", one("U8", "4", "0,4", 2), "the file's data at 2"},
      {"odd_f4", "x.safetensors", one("F4", "3", "0,2", 2), "has 3 elements, which come in groups"},
      {"metadata_with_a_number", "x.safetensors", headed("{\"__metadata__\":{\"k\":1}}", ""),
       "found the number 1"},
      {"index_of_a_file_above", "model.safetensors.index.json", R"({"weight_map": {"t": "../x"}})",
       "is no file of this folder"},
      {"pickle_that_calls", "x.bin",
       zip({{"m/data.pkl",
             "\x80\x02"
             "cposix\nsystem\nX\x04\0\0\0true\x85R."s}}),
       "imports 'posix.system'"},
      {"stride_past_the_storage", "x.bin", pickled(tensor("0", 4, 0, {2, 2}, {3, 1})),
       "ends at element 4, its storage has 4"},
      {"zip_with_deflate", "x.bin", zip({deflated}), "is compressed (method 8)"},
      {"zip_bomb", "x.bin", zip({{"m/data.pkl", "\x80\x02}."}, bomb}),
       "does not end before the central directory"},
      {"gguf_duplicate_key", "x.gguf", raw_file({key, key}, {}, 0), "the key 'k' twice"},
      {"gguf_alignment_0", "x.gguf", aligned(0), "is 0, no power of two"},
      {"gguf_alignment_48", "x.gguf", aligned(48), "is 48, no power of two"},
      {"gguf_row_of_255", "x.gguf", raw_file({}, {raw_tensor("t", {255}, 35, 0)}, 96),
       "rows of 255"},
      {"gguf_offset_gap", "x.gguf",
       raw_file({}, {raw_tensor("a", {8}, 0, 0), raw_tensor("b", {8}, 0, 64)}, 96),
       "starts at 64, the one before it ends at 32"},
      {"gguf_name_of_65", "x.gguf", raw_file({}, {raw_tensor(std::string(65, 'n'), {8}, 0, 0)}, 32),
       "has 65 bytes, over 63"},
  };
}

TEST(NegativeFiles, EachIsRefusedWithAnErrorOfItsOwn) {
  std::map<std::string, std::string> seen;
  for (const Case& each : cases()) {
    const test::TemporaryFolder folder;
    const fs::path path = folder.file(each.file, each.bytes);
    try {
      open_tensors(path);
      ADD_FAILURE() << each.name << " was accepted";
    } catch (const Error& error) {
      std::string said = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::file) << each.name;
      EXPECT_EQ(error.file(), path.string()) << each.name;
      EXPECT_TRUE(test::contains(said, each.says)) << each.name;
      said.erase(0, path.string().size());
      const auto [other, fresh] = seen.emplace(said, each.name);
      EXPECT_TRUE(fresh) << each.name << " says what " << other->second << " says: " << said;
    }
  }
}

}  // namespace
}  // namespace mote::checkpoint
