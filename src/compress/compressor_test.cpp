#include "compress/compressor.h"

#include "base/file.h"
#include "model/loss.h"
#include "model/saved.h"
#include "tests/support/files.h"
#include "tests/support/models.h"
#include "text/bpe.h"
#include "train/trainer.h"

namespace mote::compress {
namespace {

using testing::test_pass;

// Sentences with structure to learn, written by a small grammar.
std::string sentences(std::uint64_t seed, int count) {
  const char* subjects[] = {"the miller",     "a grey owl",      "my neighbour",
                            "the old engine", "every traveller", "the night watch"};
  const char* verbs[] = {"carries", "remembers", "repairs", "counts", "follows", "forgets"};
  const char* objects[] = {"a lantern", "seven stones", "the northern road", "his father's coat",
                           "the broken wheel"};
  const char* ends[] = {"before dawn", "without a word", "in heavy rain", "near the bridge",
                        "as if nothing had happened"};
  const Rng rng(seed, Purpose::test);
  std::string text;
  for (int i = 0; i < count; ++i) {
    const auto pick = [&](std::uint64_t n, int slot) {
      return rng.below(n, static_cast<std::uint64_t>(4 * i + slot));
    };
    text += std::string(subjects[pick(6, 0)]) + " " + verbs[pick(6, 1)] + " " +
            objects[pick(5, 2)] + " " + ends[pick(5, 3)] + (i % 5 == 4 ? ".\n" : ". ");
  }
  return text;
}

// At random: inputs of many directions.
std::string letters(int count) {
  const Rng rng(5, Purpose::test);
  std::string text;
  for (int i = 0; i < count; ++i)
    text += static_cast<char>(' ' + rng.below(95, static_cast<std::uint64_t>(i)));
  return text;
}

// A trained toy model, made once for all tests of this file: 8 experts, rows of 320.
class TrainedModel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<test::TemporaryFolder>();
    folder_->file("train.txt", sentences(1, 6000));
    folder_->file("valid.txt", sentences(2, 300));
    folder_->file("other.txt", sentences(3, 500));
    folder_->file("letters.txt", letters(20000));
    train::Recipe recipe;
    recipe.data.train = path("train.txt");
    recipe.data.tokenizer = "bytes";
    recipe.model.layers = 2;
    recipe.model.dim = 320;
    recipe.model.context = 64;
    recipe.model.feed_forward = checkpoint::Mixture{8, 320, {2, 0, 0.001}};
    recipe.training.steps = 80;
    recipe.training.learning_rate = 2e-3;
    recipe.training.warmup = 10;
    train::train(recipe, path("model"), false, test_pass().run);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return (folder_->path() / name).string(); }

  static CompressOptions options(Bits bits, MethodKind method = MethodKind::gptq) {
    CompressOptions o;
    o.rounding.bits = bits;
    o.method = method;
    o.calibration = path("train.txt");
    o.validation = path("valid.txt");
    o.samples = 16;
    return o;
  }
  static CompressReport run(const std::string& out, const CompressOptions& o) {
    return compress(path("model"), path(out), o, test_pass());
  }
  static std::string weights(const std::string& name) {
    return read_file(fs::path(path(name)) / "model.safetensors");
  }

  static std::unique_ptr<test::TemporaryFolder> folder_;
};
std::unique_ptr<test::TemporaryFolder> TrainedModel::folder_;

using Compressor = TrainedModel;

TEST_F(Compressor, SecondOrderTernaryIsFarBetterThanRoundingAndTwoBitsBetterStill) {
  const CompressReport two = run("two", options(Bits::two)),
                       ternary = run("ternary", options(Bits::ternary)),
                       nearest = run("nearest", options(Bits::ternary, MethodKind::rtn));
  const double before = ternary.loss_before;
  EXPECT_LE(before, two.loss_after + 1e-3);
  EXPECT_LT(two.loss_after, ternary.loss_after);
  EXPECT_LT(ternary.loss_after - before, 0.5 * (nearest.loss_after - before))
      << "before " << before << ", ternary " << ternary.loss_after << ", nearest "
      << nearest.loss_after;
  EXPECT_GT(ternary.zeros, 0.80);
  EXPECT_LT(ternary.zeros, 0.93);
  EXPECT_GE(16 / ternary.expert_bits_per_weight, 10)
      << ternary.expert_bits_per_weight << " bits per weight";
  EXPECT_EQ(ternary.experts, 16);
}

TEST_F(Compressor, ValidationTextDoesNotChangeABitOfTheWeights) {
  CompressOptions o = options(Bits::ternary);
  run("one-validation", o);
  o.validation = path("other.txt");
  run("other-validation", o);
  EXPECT_EQ(weights("one-validation"), weights("other-validation"));
}

TEST_F(Compressor, ThreadsDoNotChangeABitOfTheWeights) {
  for (const int threads : {1, 3})
    compress(path("model"), path("threads-" + std::to_string(threads)), options(Bits::ternary),
             test_pass(false, threads));
  EXPECT_EQ(weights("threads-1"), weights("threads-3"));
}

TEST_F(Compressor, EveryOptionGivesAModelThatRuns) {
  int number = 0;
  for (const auto& change : std::vector<std::function<void(CompressOptions&)>>{
           [](CompressOptions& o) { o.rounding.act_order = true; },
           [](CompressOptions& o) { o.rounding.search_clip = true; },
           [](CompressOptions& o) { o.true_sequential = true; },
           [](CompressOptions& o) { o.match_outputs = true; },
           [](CompressOptions& o) { o.cap_factor = 1; }}) {
    CompressOptions o = options(Bits::ternary);
    change(o);
    const CompressReport r = run("option-" + std::to_string(number++), o);
    EXPECT_GT(r.loss_after, r.loss_before);
    EXPECT_LT(r.loss_after, r.loss_before + 2) << "option " << number - 1;
  }
}

// Puts float32 matrices in the places of packed ones.
class Unpacker final : public model::ParameterVisitor {
 public:
  void matrix(const model::Parameter&, model::WeightPtr& weight) override {
    if (weight->storage() != "f32") weight = model::make_dense_weight(weight->to_dense());
  }
  void tensor(const model::Parameter&, Tensor&) override {}
};

// Where all hidden units of an expert are the same, the moments of what enters its second matrix have
// no inverse, unless they are damped; those of the first are as before.
TEST_F(Compressor, AnExpertFallsBackWhereEitherOfItsMatricesDoes) {
  const auto model = model::make_model(model::load_config(path("model")).model);
  model::load_parameters(*model, path("model"));
  for (auto& [name, value] : model::trainable_parameters(*model).tensors) {
    const torch::NoGradGuard no_grad;
    if (name == "blocks.0.feed_forward.experts.up")
      value[0].copy_(value[0][0].unsqueeze(0).expand_as(value[0]) * 1000);
  }
  fs::create_directory(path("same"));
  model::save_model(*model, path("same"));
  const auto tokenizer = text::load_tokenizer(path("model"));
  model::save_tokenizer(*tokenizer, model::own_bounds(*tokenizer), path("same"));
  CompressOptions o = options(Bits::two);
  o.rounding.damping = 1e-12;
  o.calibration = path("letters.txt");
  o.layers = "blocks.0.feed_forward.experts.*";  // later blocks see what this one makes
  const CompressReport all = run("all-calibrated", o),
                       same = compress(path("same"), path("one-falls-back"), o, test_pass());
  EXPECT_EQ(all.calibrated, 8);
  EXPECT_EQ(same.experts, all.experts);
  EXPECT_EQ(same.calibrated, all.calibrated - 1);
}

TEST_F(Compressor, PackedModelComputesWhatItsDequantisedFormDoes) {
  for (const Bits bits : {Bits::ternary, Bits::two}) {
    const std::string name = std::string("packed-") + enum_name(bits);
    run(name, options(bits));
    const torch::NoGradGuard no_grad;
    const auto packed = model::load_model(path(name), serial()),
               dense = model::load_model(path(name), serial());
    Unpacker unpacker;
    dense->visit(unpacker);
    const Tensor ids = (torch::arange(200) * 31 % 256).view({2, 100});
    const auto logits = [&](const model::Model& m, std::int64_t step) {
      const model::Pass pass = test_pass();
      model::Cache cache = m.make_cache();
      std::vector<Tensor> parts;
      for (std::int64_t first = 0; first < 100; first += step) {
        model::ForwardState state(pass);
        state.caches = {&cache};
        const Tensor some = ids.narrow(1, first, std::min(step, 100 - first));
        parts.push_back(m.logits(m.hidden(some, state), pass));
      }
      return torch::cat(parts, 1);
    };
    const Tensor whole = logits(*packed, 100);
    testing::expect_close(whole, logits(*dense, 100), 1e-5, "packed and dense");
    testing::expect_close(logits(*packed, 1), whole, 1e-5, "one token at a time");
    testing::expect_close(logits(*packed, 7), whole, 1e-5, "seven tokens at a time");
  }
}

TEST_F(Compressor, ReachesEveryMatrixByName) {
  const auto packed_names = [](const std::string& name) {
    std::vector<std::string> names;
    const model::SavedConfig saved = model::load_config(path(name));
    for (const auto& t : saved.quantization->tensors) names.push_back(t.name);
    return names;
  };
  CompressOptions o = options(Bits::two);
  o.layers = "all";
  const CompressReport all = run("all", o);
  EXPECT_GT(all.loss_after, all.loss_before - 1e-3);
  EXPECT_LT(all.loss_after, all.loss_before + 0.5);
  EXPECT_EQ(packed_names("all").size(), static_cast<std::size_t>(all.matrices));
  EXPECT_EQ(all.matrices, 2 * (5 + 2)) << "q, k, v, out, position, up, down in two blocks";
  o.true_sequential = true;
  EXPECT_LT(run("all-sequential", o).loss_after, all.loss_before + 0.5);
  o = options(Bits::two);
  o.layers = "*.attention.out.weight";
  const CompressReport some = run("some", o);
  EXPECT_EQ(packed_names("some"), (std::vector<std::string>{"blocks.0.attention.out.weight",
                                                            "blocks.1.attention.out.weight"}));
  EXPECT_EQ(some.experts, 0);
  EXPECT_LT(some.loss_after, some.loss_before + 0.2);
  o.layers = "head.weight";
  EXPECT_EQ(run("head", o).matrices, 1);
  for (const char* wrong : {"embedding.weight", "blocks.9.*", ""}) {
    o.layers = wrong;
    EXPECT_THROW(run("wrong", o), Error) << wrong;
  }
  EXPECT_FALSE(fs::exists(path("wrong")));
}

TEST_F(Compressor, RefusesWhatItCannotCompress) {
  run("done", options(Bits::two));
  EXPECT_THROW(compress(path("done"), path("again"), options(Bits::two), test_pass()), Error);
  EXPECT_THROW(run("done", options(Bits::two)), Error) << "the folder is not empty";
  CompressOptions o = options(Bits::two);
  o.calibration = path("missing.txt");
  EXPECT_THROW(run("no-text", o), Error);
  EXPECT_FALSE(fs::exists(path("no-text")));
}

// A damaged compressed folder: one clear refusal, whichever byte was hit.
TEST_F(Compressor, DamagedFoldersAreRefusedByName) {
  run("sound", options(Bits::ternary));
  const std::string config = read_file(fs::path(path("sound")) / "config.json"),
                    file = weights("sound");
  const auto load = [&](const std::string& new_config, const std::string& new_file) {
    const test::TemporaryFolder damaged;
    damaged.file("config.json", new_config);
    damaged.file("model.safetensors", new_file);
    model::load_model(damaged.path(), serial());
  };
  EXPECT_NO_THROW(load(config, file));
  EXPECT_THROW(load(config, file.substr(0, file.size() / 2)), Error) << "cut short";
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    EXPECT_NE(text.find(from), std::string::npos) << from;
    return text.replace(text.find(from), from.size(), to);
  };
  EXPECT_THROW(load(replaced("\"format_version\": 3", "\"format_version\": 4"), file), Error);
  EXPECT_THROW(load(replaced("\"quant_method\": \"mote\"", "\"quant_method\": \"other\""), file),
               Error);
  EXPECT_THROW(load(replaced("\"in\": 320", "\"in\": 319"), file), Error);
  EXPECT_THROW(load(replaced("\"q16\"", "\"two_bit\""), file), Error);
  EXPECT_THROW(load(replaced("\"coder\": \"q16\",", ""), file), Error) << "no default here";
  // Offsets out of order, and codes that end too early.
  const checkpoint::Safetensors parsed =
      checkpoint::parse_safetensors(std::as_bytes(std::span(file)), "sound");
  for (const char* part : {".offsets", ".row_base", ".row_start", ".codes", ".levels"}) {
    std::string broken = file;
    const auto& tensor =
        parsed.tensors.at("blocks.1.feed_forward.experts.down" + std::string(part));
    const auto at =
        static_cast<std::size_t>(reinterpret_cast<const char*>(tensor.bytes.data()) - file.data());
    for (std::size_t i = 0; i < 16; ++i)
      broken[at + tensor.bytes.size() / 2 + i] = static_cast<char>(0xff);
    EXPECT_THROW(load(config, broken), Error) << part;
  }
}

}  // namespace
}  // namespace mote::compress
