#include "checkpoint/tensor_source.h"

#include <gtest/gtest.h>

#include "base/json_text.h"
#include "checkpoint/gguf.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/safetensors.h"
#include "tests/support/contains.h"
#include "tests/support/files.h"
#include "tests/support/pickles.h"

namespace mote::checkpoint {
namespace {

using test::contains;

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
  // Files of one float32 tensor of one element each, its name's first letter.
  void write_safetensors(const std::string& file, const std::vector<std::string>& names) const {
    std::vector<TensorSpec> some;
    for (const std::string& name : names) some.push_back({name, Dtype::f32, {1}});
    SafetensorsWriter writer(folder_.path() / file, some);
    for (const std::string& name : names) {
      const auto value = static_cast<float>(name[0]);
      writer.write(name, std::as_bytes(std::span(&value, 1)));
    }
    writer.commit();
  }
  static std::string said(const fs::path& path) {
    try {
      open_tensors(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
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
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["x"] = "model-00001-of-00003.safetensors"; }),
            "x");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["a"] = "../model.safetensors"; }), "a");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["a"] = 3; }), "a");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j.erase("weight_map"); }), "weight_map");
  restore();
  EXPECT_EQ(refusal([](Json& j) { j["weight_map"]["a"] = std::string("a\0b", 3); }), "a");
}

TEST_F(ShardedModel, SaysWhetherAShardATensorOrItsPlaceIsWrong) {
  save(24);
  const std::string good = read_file(index());
  const auto message = [&](const std::function<void(Json&)>& change) {
    write_file(index(), good);
    Json json = read_json_object(index().string());
    change(json);
    write_file(index(), json.dump());
    return said(folder_.path());
  };
  EXPECT_TRUE(
      contains(message([](Json& j) { j["weight_map"]["x"] = "model-00001-of-00003.safetensors"; }),
               "which has no such tensor"));
  EXPECT_TRUE(
      contains(message([](Json& j) { j["weight_map"]["a"] = "model-00002-of-00003.safetensors"; }),
               "and lies in model-00001-of-00003.safetensors"));
  EXPECT_TRUE(contains(message([](Json& j) { j["weight_map"]["a"] = "other.safetensors"; }),
                       "other.safetensors: is missing"));
  fs::remove(folder_.path() / "model-00002-of-00003.safetensors");
  EXPECT_TRUE(contains(message([](Json&) {}), "download model-00002-of-00003.safetensors"));
  fs::remove(index());
  EXPECT_TRUE(contains(said(folder_.path()), "download model-00002-of-00003.safetensors"));
}

TEST_F(ShardedModel, LeavesOutWhatTheIndexDoesNotName) {
  save(24);
  Json json = read_json_object(index().string());
  json["weight_map"].erase("b");
  write_file(index(), json.dump());
  const auto source = open_tensors(folder_.path());
  EXPECT_EQ(source->tensors().size(), 4u);
  EXPECT_FALSE(source->has("b"));
  EXPECT_THROW(source->at("b"), Error);
}

TEST_F(ShardedModel, OpensByItsIndexToo) {
  save(24);
  EXPECT_EQ(open_tensors(index())->tensors().size(), 5u);
}

TEST_F(ShardedModel, RefusesATensorThatLiesInTwoShards) {
  save(24);
  write_safetensors("model-00003-of-00003.safetensors", {"e", "a"});
  EXPECT_TRUE(contains(said(folder_.path()),
                       "lies in model-00001-of-00003.safetensors and in "
                       "model-00003-of-00003.safetensors"));
}

// Shards named freely, without an index: all headers are read.
TEST_F(ShardedModel, NeedsNoIndexWhereFilesHaveNamesOfTheirOwn) {
  write_safetensors("layer-0-experts-0-63.safetensors", {"a", "b"});
  write_safetensors("layer-0-experts-64-127.safetensors", {"c"});
  write_safetensors("rest.safetensors", {"d", "e"});
  write_safetensors("adapter_model.safetensors", {"adapter"});
  const auto source = open_tensors(folder_.path());
  EXPECT_EQ(source->tensors().size(), 5u);
  EXPECT_EQ(source->files().size(), 3u);
  EXPECT_EQ(source->at("c").copied<float>()[0], 'c');
  write_safetensors("again.safetensors", {"c"});
  EXPECT_TRUE(contains(said(folder_.path()), "'c' lies in again.safetensors and in layer-0"));
}

TEST_F(ShardedModel, IsFoundInPicklesWithAnIndex) {
  using namespace test::pickles;
  const auto pickle = [](const std::string& name, const std::string& data) {
    return zip({{"m/data.pkl", state({{name, tensor("0", 1, 0, {1}, {1})}})}, {"m/data/0", data}});
  };
  folder_.file("pytorch_model-00001-of-00002.bin", pickle("a", "1234"));
  folder_.file("pytorch_model-00002-of-00002.bin", pickle("b", "5678"));
  const auto parts = open_tensors(folder_.path());  // no index
  EXPECT_EQ(parts->tensors().size(), 2u);
  folder_.file("pytorch_model.bin.index.json",
               R"({"weight_map": {"a": "pytorch_model-00001-of-00002.bin",
                                  "b": "pytorch_model-00002-of-00002.bin"}})");
  const auto source = open_tensors(folder_.path());
  EXPECT_EQ(source->format(), "PyTorch pickle");
  EXPECT_EQ(source->files().size(), 3u);
  EXPECT_EQ(std::memcmp(source->at("b").bytes.data(), "5678", 4), 0);
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

// Every container is known by its first bytes, whatever its file is called.
TEST(OpenFile, KnowsContainersByTheirBytes) {
  const test::TemporaryFolder folder;
  const auto format = [&](const fs::path& from) {
    fs::copy_file(test::data_folder() / from, folder.path() / "weights.data",
                  fs::copy_options::overwrite_existing);
    return open_file(folder.path() / "weights.data")->format();
  };
  EXPECT_EQ(format("gguf/keys.gguf"), "GGUF");
  EXPECT_EQ(format("pickle/zip.pt"), "PyTorch pickle");
  EXPECT_EQ(format("pickle/legacy.pt"), "PyTorch pickle");
  EXPECT_EQ(format("version2/mixture/model.safetensors"), "safetensors");
}

std::string refusal_of(const fs::path& path) {
  try {
    open_tensors(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(OpenFile, SaysWhatIsWrongWithWhatItCannotOpen) {
  const test::TemporaryFolder folder;
  EXPECT_TRUE(contains(refusal_of(folder.file("empty.safetensors", "")), "has 0 bytes"));
  EXPECT_TRUE(contains(refusal_of(folder.file("empty.gguf", "")), "the magic 'GGUF'"));
  EXPECT_TRUE(contains(refusal_of(folder.file("empty.bin", "")), "no file of torch.save"));
  EXPECT_TRUE(contains(refusal_of(folder.file("page.safetensors", "<!DOCTYPE html><html>")),
                       "is this a safetensors file?"));
  EXPECT_TRUE(contains(
      refusal_of(folder.file("model.gguf", "version https://git-lfs.github.com/spec/v1\n")),
      "pointer of Git LFS"));
  EXPECT_TRUE(contains(refusal_of(folder.path() / "absent"), "absent"));
}

TEST(OpenFolder, SaysWhatIsMissing) {
  const test::TemporaryFolder folder;
  EXPECT_TRUE(contains(refusal_of(folder.path()), "is it the folder of a model?"));
  folder.file("config.json", "{}");
  folder.file("training_args.bin", "x");
  EXPECT_TRUE(contains(refusal_of(folder.path()), "only a config.json; the model is not all here"));
}

TEST(OpenFolder, NamesALinkToWhatWasNotDownloaded) {
  const test::TemporaryFolder folder;
  folder.file("config.json", "{}");
  fs::create_symlink("../../blobs/0123", folder.path() / "model.safetensors");
  EXPECT_TRUE(
      contains(refusal_of(folder.path()), "model.safetensors: is a link to ../../blobs/0123"));
}

TEST(OpenFolder, AsksWhichOfSeveralModelsIsMeant) {
  const test::TemporaryFolder folder;
  for (const char* name : {"a.gguf", "b.gguf"})
    fs::copy_file(test::data_folder() / "gguf" / "keys.gguf", folder.path() / name);
  EXPECT_TRUE(contains(refusal_of(folder.path()), "has a.gguf and b.gguf; name the file"));
  fs::remove(folder.path() / "b.gguf");
  EXPECT_EQ(open_tensors(folder.path())->format(), "GGUF");
}

class SplitGguf : public ::testing::Test {
 protected:
  SplitGguf() {
    for (const char* name : {"split-00001-of-00002.gguf", "split-00002-of-00002.gguf"})
      fs::copy_file(test::data_folder() / "gguf" / name, folder_.path() / name);
  }
  test::TemporaryFolder folder_;
};

TEST_F(SplitGguf, IsOneModelByItsFolderAndByAnyPart) {
  for (const fs::path& path : {folder_.path(), folder_.path() / "split-00001-of-00002.gguf",
                               folder_.path() / "split-00002-of-00002.gguf"}) {
    const auto source = open_tensors(path);
    EXPECT_EQ(source->tensors().size(), 3u);
    EXPECT_EQ(source->files().size(), 2u);
    EXPECT_EQ(source->at("part1.0").copied<float>()[5], 10);
    EXPECT_EQ(dynamic_cast<const GgufFile&>(*source).keys().integer("llama.block_count"), 1);
  }
}

TEST_F(SplitGguf, NamesThePartThatIsMissing) {
  fs::remove(folder_.path() / "split-00002-of-00002.gguf");
  EXPECT_TRUE(contains(refusal_of(folder_.path()), "download split-00002-of-00002.gguf"));
  EXPECT_TRUE(contains(refusal_of(folder_.path() / "split-00001-of-00002.gguf"),
                       "split-00002-of-00002.gguf: is missing, part 2 of the 2"));
}

TEST_F(SplitGguf, RefusesPartsOfAnotherModelAndNamesThatSayNothing) {
  fs::copy_file(folder_.path() / "split-00001-of-00002.gguf",
                folder_.path() / "split-00002-of-00002.gguf", fs::copy_options::overwrite_existing);
  EXPECT_TRUE(contains(refusal_of(folder_.path()), "split.no is 0"));
  fs::rename(folder_.path() / "split-00001-of-00002.gguf", folder_.path() / "model.gguf");
  EXPECT_TRUE(contains(refusal_of(folder_.path() / "model.gguf"),
                       "its name must be like NAME-00001-of-00002.gguf"));
}

// What sits beside a model's weights and is not read would make its outputs wrong without a word.
TEST(UsedTensors, ASidecarThatNobodyReadsIsNamed) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  GgufKeyList keys;
  keys.add_text("general.architecture", "olmoe");
  GgufWriter writer(path, keys,
                    {{"blk.0.ffn_up_exps.weight", Dtype::f32, {2, 3, 4}},
                     {"blk.0.ffn_up_exps.scale", Dtype::f32, {2}}});
  writer.write("blk.0.ffn_up_exps.weight", std::vector<std::byte>(96));
  writer.write("blk.0.ffn_up_exps.scale", std::vector<std::byte>(8));
  writer.commit();
  const auto source = open_tensors(path);
  const UsedTensors used(*source);
  used.at("blk.0.ffn_up_exps.weight");
  EXPECT_EQ(used.unused(), std::vector<std::string>{"blk.0.ffn_up_exps.scale"});
  try {
    used.check_all_used();
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "blk.0.ffn_up_exps.scale");
  }
}

}  // namespace
}  // namespace mote::checkpoint
