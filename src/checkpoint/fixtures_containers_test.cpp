// The reference checkpoints, whatever containers they come in: every tensor of every file. Folders
// are discovered; other ones of the same kinds must pass as they are.
#include <gtest/gtest.h>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_pickle.h"
#include "kernels/packed/blocks/blocks.h"
#include "tests/support/fixture_kinds.h"

namespace mote::checkpoint {
namespace {

bool has_tensors(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") || name.starts_with("pytorch_model") || name.ends_with(".gguf"))
      if (name != "model.json") return true;
  }
  return false;
}

class FixturesContainers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::is_directory(test::fixtures_folder()))
      GTEST_SKIP() << "no reference fixtures at " << test::fixtures_folder();
    for (const auto& [kind, path] : test::find_fixtures(test::fixtures_folder()))
      if (kind.starts_with("checkpoint:") && has_tensors(path)) folders_.push_back(path);
    ASSERT_FALSE(folders_.empty());
  }
  std::vector<fs::path> folders_;
};

bool same_bytes(const Tensor& a, const Tensor& b) {
  return std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
}

TEST_F(FixturesContainers, PicklesHoldTheirTwinsBitForBit) {
  int compared = 0;
  for (const fs::path& folder : folders_) {
    const auto source = open_tensors(folder);
    if (source->format() != "PyTorch pickle") continue;
    const auto twin = open_tensors(test::expectations_of(folder));
    ASSERT_EQ(twin->format(), "safetensors") << folder;
    for (const auto& [name, unused] : twin->tensors()) {
      const Tensor &here = source->at(name), &there = twin->at(name);
      EXPECT_EQ(here.dtype, there.dtype) << folder << name;
      EXPECT_EQ(here.shape, there.shape) << folder << name;
      EXPECT_TRUE(same_bytes(here, there)) << folder << name;
      ++compared;
    }
    // Ties are names for the same bytes.
    for (const auto& [name, tensor] : source->tensors())
      if (!twin->has(name)) {
        bool tied = false;
        for (const auto& [other, is] : source->tensors())
          tied = tied || (twin->has(other) && is.bytes.data() == tensor.bytes.data());
        EXPECT_TRUE(tied) << folder << name;
      }
  }
  EXPECT_GT(compared, 0);
}

// The same weights in another layout: what has kept its name and shape has kept its bits.
TEST_F(FixturesContainers, OtherLayoutsShareTheBitsOfWhatTheyShare) {
  for (const fs::path& folder : folders_) {
    const fs::path other = test::expectations_of(folder);
    if (other == folder) continue;
    const auto a = open_tensors(folder), b = open_tensors(other);
    int shared = 0;
    for (const auto& [name, tensor] : a->tensors())
      if (b->has(name) && b->at(name).shape == tensor.shape && b->at(name).dtype == tensor.dtype) {
        EXPECT_TRUE(same_bytes(tensor, b->at(name))) << folder << name;
        ++shared;
      }
    EXPECT_GT(shared, 0) << folder;
  }
}

TEST_F(FixturesContainers, AreTheSameWhenSavedAsSafetensorsTwice) {
  const test::TemporaryFolder scratch;
  for (const fs::path& folder : folders_) {
    const auto save = [&](const TensorSource& from, const std::vector<std::string>& order,
                          const fs::path& to) {
      std::vector<TensorSpec> specs;
      for (const std::string& name : order)
        specs.push_back({name, from.at(name).dtype, from.at(name).shape});
      SafetensorsWriter writer(to, specs, {{"format", "pt"}});
      for (const std::string& name : order) writer.write(name, from.at(name).bytes);
      writer.commit();
    };
    const auto source = open_tensors(folder);
    if (source->format() == "GGUF") continue;
    std::vector<std::string> order;
    for (const auto& [name, unused] : source->tensors()) order.push_back(name);
    save(*source, order, scratch.path() / "once");
    const SafetensorsFile once(scratch.path() / "once");
    for (const auto& [name, tensor] : source->tensors())
      EXPECT_TRUE(same_bytes(tensor, once.at(name))) << folder << name;
    save(once, once.order(), scratch.path() / "twice");
    EXPECT_EQ(read_file(scratch.path() / "once"), read_file(scratch.path() / "twice")) << folder;
  }
}

// Floating point only, and numbered: names of Hugging Face are longer than GGUF allows.
TEST_F(FixturesContainers, AreTheSameWhenSavedAsGgufTwice) {
  const test::TemporaryFolder scratch;
  for (const fs::path& folder : folders_) {
    const auto source = open_tensors(folder);
    std::vector<TensorSpec> specs;
    std::vector<const Tensor*> tensors;
    for (const auto& [name, tensor] : source->tensors()) {
      if (kernels::find_block_type(std::string_view(checkpoint::name(tensor.dtype))) == nullptr ||
          tensor.shape.size() > kMostGgufAxes)
        continue;
      specs.push_back({std::to_string(tensors.size()), tensor.dtype, tensor.shape});
      tensors.push_back(&tensor);
    }
    const auto save = [&](const fs::path& to, const auto& bytes_of) {
      GgufKeyList keys;
      keys.add_text("general.architecture", "test");
      GgufWriter writer(to, keys, specs);
      for (std::size_t i = 0; i < specs.size(); ++i) writer.write(specs[i].name, bytes_of(i));
      writer.commit();
    };
    save(scratch.path() / "once", [&](std::size_t i) { return tensors[i]->bytes; });
    const GgufFile once(scratch.path() / "once");
    for (std::size_t i = 0; i < specs.size(); ++i) {
      EXPECT_EQ(once.at(specs[i].name).shape, specs[i].shape) << folder;
      EXPECT_TRUE(same_bytes(*tensors[i], once.at(specs[i].name))) << folder;
    }
    save(scratch.path() / "twice", [&](std::size_t i) { return once.at(specs[i].name).bytes; });
    EXPECT_EQ(read_file(scratch.path() / "once"), read_file(scratch.path() / "twice")) << folder;
  }
}

// X_blocks [E, out, n / 32, 16] and X_scales against `dequantised.X` [E, n, out] of the original.
TEST_F(FixturesContainers, Mxfp4InSafetensorsIsDecodedExactly) {
  constexpr const char* kExpected = "dequantised.";
  int compared = 0;
  for (const fs::path& folder : folders_) {
    const fs::path expected = folder / "expected.safetensors";
    if (!fs::exists(expected)) continue;
    const SafetensorsFile file(expected);
    const auto source = open_tensors(folder);
    for (const auto& [name, want] : file.tensors()) {
      if (!name.starts_with(kExpected)) continue;
      const std::string stored = name.substr(std::strlen(kExpected));
      const Tensor& codes = source->at(stored + "_blocks");
      const Tensor& scales = source->at(stored + "_scales");
      std::vector<std::byte> blocks(scales.bytes.size() * 17);
      kernels::mxfp4_from_pairs(codes.bytes, scales.bytes, blocks);
      std::vector<std::int64_t> shape = {scales.shape[0], scales.shape[1], scales.shape[2] * 32};
      const std::vector<float> values = Tensor{Dtype::mxfp4, shape, blocks}.floats();
      ASSERT_EQ(want.shape, (std::vector<std::int64_t>{shape[0], shape[2], shape[1]})) << name;
      const std::vector<float> wanted = want.copied<float>();
      for (std::int64_t e = 0, at = 0; e < shape[0]; ++e)
        for (std::int64_t o = 0; o < shape[1]; ++o)
          for (std::int64_t i = 0; i < shape[2]; ++i, ++at)
            ASSERT_EQ(values[static_cast<std::size_t>(at)],
                      wanted[static_cast<std::size_t>((e * shape[2] + i) * shape[1] + o)])
                << folder << name;
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

TEST_F(FixturesContainers, FilesOfTorchSaveInOtherFoldersOpen) {
  for (const auto& entry : fs::recursive_directory_iterator(test::fixtures_folder())) {
    if (entry.path().extension() != ".pt" && entry.path().extension() != ".bin") continue;
    const TorchPickleFile file(entry.path());
    EXPECT_FALSE(file.tensors().empty() && file.values().empty()) << entry.path();
    for (const auto& [name, unused] : file.tensors()) file.at(name);
  }
}

}  // namespace
}  // namespace mote::checkpoint
