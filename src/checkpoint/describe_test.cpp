#include "checkpoint/describe.h"

#include <gtest/gtest.h>

#include <limits>

#include "checkpoint/gguf_keys.h"
#include "tests/support/files.h"

namespace mote::checkpoint {
namespace {

Json of(const std::string& file, bool tensors) {
  return describe(*open_tensors(test::data_folder() / file), tensors);
}

TEST(Describe, AGgufFileByItsKeysAndTypes) {
  const Json facts = of("gguf/Q6_K.gguf", true);
  EXPECT_EQ(facts["format"], "GGUF");
  EXPECT_EQ(facts["family"], "none");
  EXPECT_EQ(facts["dtype"], "mixed");
  EXPECT_EQ(facts["dtypes"], (Json{{"F32", 512}, {"Q6_K", 512}}));
  EXPECT_EQ(facts["parameters"]["total"], 1024);
  EXPECT_EQ(facts["bytes"], fs::file_size(test::data_folder() / "gguf" / "Q6_K.gguf"));
  EXPECT_EQ(facts["tensors"][0], (Json{{"name", "blocks"},
                                       {"shape", {2, 256}},
                                       {"dtype", "Q6_K"},
                                       {"bytes", 420},
                                       {"bits_per_weight", 6.5625}}));
}

TEST(Describe, KeysOfEveryTypeAsJson) {
  const Json keys = of("gguf/keys.gguf", false)["metadata"];
  EXPECT_EQ(keys["k.u8"], 200);
  EXPECT_EQ(keys["k.i32"], -2000000000);
  EXPECT_EQ(keys["k.u64"], std::uint64_t{1} << 63);
  EXPECT_EQ(keys["k.f64"], 0.1);
  EXPECT_EQ(keys["k.bool"], true);
  EXPECT_EQ(keys["k.floats"], (Json{0.5, -1.5}));
  EXPECT_EQ(keys["k.texts"], (Json{"", "a", "bc"}));
  EXPECT_EQ(keys["k.bools"], (Json{true, false, true}));
}

TEST(Describe, AllPartsOfASplitModel) {
  const Json facts = of("gguf/split-00002-of-00002.gguf", true);
  EXPECT_EQ(facts["tensors"].size(), 3u);
  EXPECT_EQ(facts["family"], "llama");
  EXPECT_EQ(facts["bytes"],
            fs::file_size(test::data_folder() / "gguf/split-00001-of-00002.gguf") +
                fs::file_size(test::data_folder() / "gguf/split-00002-of-00002.gguf"));
}

TEST(Describe, APickleByItsTensorsAndItsOtherValues) {
  const Json facts = of("pickle/zip.pt", true);
  EXPECT_EQ(facts["format"], "PyTorch pickle");
  EXPECT_EQ(facts["metadata"]["steps"], 12);
  EXPECT_FALSE(facts.contains("family"));
  EXPECT_EQ(of("pickle/zip.pt", false).contains("tensors"), false);
}

TEST(Describe, ALongArrayByItsLengthAndItsBeginning) {
  std::vector<float> values(100, 0.5f);
  values[1] = std::numeric_limits<float>::infinity();
  const GgufValue value{GgufType::f32, true, 100, std::as_bytes(std::span(values))};
  EXPECT_EQ(to_json(value, 3), (Json{{"count", 100}, {"first", {0.5, "inf", 0.5}}}));
}

}  // namespace
}  // namespace mote::checkpoint
