#include "checkpoint/tensor_source.h"

#include <gtest/gtest.h>

#include "base/json_text.h"
#include "checkpoint/safetensors.h"
#include "tests/support/files.h"

namespace mote::checkpoint {
namespace {

// Five tensors of 4, 8, ... 20 bytes.
std::vector<TensorSpec> specs() {
  std::vector<TensorSpec> all;
  for (std::int64_t i = 1; i <= 5; ++i)
    all.push_back({std::string(1, static_cast<char>('a' + i - 1)), Dtype::f32, {i}});
  return all;
}

class ShardedModel : public ::testing::Test {
 protected:
  void save(std::uint64_t most_bytes) {
    ModelWriter writer(folder_.path(), specs(), most_bytes);
    for (const TensorSpec& spec : specs()) {
      const std::vector<float> values(static_cast<std::size_t>(spec.shape[0]),
                                      static_cast<float>(spec.name[0]));
      writer.write(spec.name, std::as_bytes(std::span(values)));
    }
    writer.commit();
  }
  void expect_whole() const {
    const auto source = open_tensors(folder_.path());
    EXPECT_EQ(source->tensors().size(), 5u);
    for (const TensorSpec& spec : specs())
      for (const float value : source->at(spec.name).copied<float>())
        EXPECT_EQ(value, static_cast<float>(spec.name[0]));
  }
  fs::path index() const { return folder_.path() / "model.safetensors.index.json"; }
  // Writes the index after a change; what opening it complains about.
  std::string refusal(const std::function<void(Json&)>& change) const {
    Json json = read_json_object(index().string());
    change(json);
    write_file(index(), json.dump());
    try {
      open_tensors(folder_.path());
    } catch (const Error& error) {
      return error.field();
    }
    return "accepted";
  }
  test::TemporaryFolder folder_;
};

TEST_F(ShardedModel, IsOneFileWhereItFits) {
  save(60);
  EXPECT_TRUE(fs::exists(folder_.path() / "model.safetensors"));
  EXPECT_FALSE(fs::exists(index()));
  EXPECT_EQ(model_files(folder_.path()).size(), 1u);
  expect_whole();
}

TEST_F(ShardedModel, IsFilesOfAtMostThatSizeAndAnIndex) {
  save(24);  // a b c = 24, d = 16, e = 20
  EXPECT_EQ(model_files(folder_.path()).size(), 4u);
  const Json json = read_json_object(index().string());
  EXPECT_EQ(json["metadata"]["total_size"], 60);
  EXPECT_EQ(json["weight_map"]["c"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(json["weight_map"]["e"], "model-00003-of-00003.safetensors");
  expect_whole();
}

TEST_F(ShardedModel, GivesATensorThatIsLargerAFileOfItsOwn) {
  save(1);
  EXPECT_EQ(model_files(folder_.path()).size(), 6u);
  expect_whole();
}

TEST_F(ShardedModel, IsRefusedWhereIndexAndShardsDiffer) {
  save(24);
  const std::string good = read_file(index());
  const auto restore = [&] { write_file(index(), good); };
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["a"] = "model-00002-of-00003.safetensors"; }),
            "a");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"].erase("b"); }), "b");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["x"] = "model-00001-of-00003.safetensors"; }),
            "x");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["a"] = "../model.safetensors"; }), "a");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["a"] = 3; }), "a");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j.erase("weight_map"); }), "weight_map");
  restore();
  fs::remove(folder_.path() / "model-00002-of-00003.safetensors");
  EXPECT_THROW(open_tensors(folder_.path()), Error);
}

TEST_F(ShardedModel, NamesTheTensorsThatNobodyAskedFor) {
  save(24);
  const auto source = open_tensors(folder_.path());
  const UsedTensors used(*source);
  for (const char* name : {"a", "b", "d", "e"}) used.at(name);
  try {
    used.check_all_used();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "c");
    EXPECT_NE(std::string(error.what()).find("tensor 'c' belongs to nothing"), std::string::npos);
  }
  try {
    const UsedTensors unused(*source);
    unused.check_all_used();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tensor 'a' and 4 more belong to nothing"),
              std::string::npos);
  }
  used.at("c");
  EXPECT_NO_THROW(used.check_all_used());
}

}  // namespace
}  // namespace mote::checkpoint
