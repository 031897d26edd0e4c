// A token through a model that has read others allocates nothing: not by operator new, which this
// test program replaces, and not by LibTorch's allocator of tensors' memory.
#include <c10/core/CPUAllocator.h>
#include <atomic>
#include <cstdlib>
#include <new>

#include "base/scratch.h"
#include "model/buffers.h"
#include "tests/support/models.h"
#include "tests/support/packed.h"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  void* memory = alignment > alignof(std::max_align_t) ? std::aligned_alloc(alignment, whole)
                                                       : std::malloc(size ? size : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(size, 1);
}
void* operator new[](std::size_t size) {
  return counted(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace mote::model {
namespace {

using testing::test_pass;

// Counts what LibTorch asks for as the memory of tensors, while it exists.
class TensorMemory final : public at::Allocator {
 public:
  TensorMemory() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, kPriority); }
  ~TensorMemory() override { c10::SetCPUAllocator(inner_, kPriority); }
  at::DataPtr allocate(std::size_t n) override {
    ++allocations;
    return inner_->allocate(n);
  }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    inner_->copy_data(to, from, count);
  }

 private:
  static constexpr std::uint8_t kPriority = 200;
  at::Allocator* inner_;
};

struct DecodeCase {
  std::string attention, layer, storage;
  int threads = 1;
};

ModelConfig config_of(const DecodeCase& c) {
  ModelConfig config;
  config.vocab_size = 50, config.layers = 2, config.dim = 64, config.context = 16;
  if (c.attention == "transformer_xl") {
    config.attention = checkpoint::TransformerXl{2, 16};
  } else {
    config.attention = checkpoint::Causal{4, 16};
    config.positions = checkpoint::Positions::learned;
    config.context = 256;
  }
  if (c.layer == "mixture")
    config.feed_forward = checkpoint::Mixture{6, 32, {2, 0, 0}};
  else
    config.feed_forward = checkpoint::Dense{96};
  return config;
}

// Every matrix stored another way; packed ones as symbols drawn anew.
class Storage final : public ParameterVisitor {
 public:
  explicit Storage(std::string name) : name_(std::move(name)) {}
  void matrix(const Parameter& p, WeightPtr& weight) override {
    const Tensor dense = weight->to_dense().detach();
    if (const kernels::Coder* coder = kernels::find_coder(name_))
      weight = testing::random_packed_weight(*coder, weight->shape(), p.name, 3);
    else
      weight = make_dense_weight(name_ == "bf16" ? dense.to(torch::kBFloat16) : dense);
  }
  void tensor(const Parameter&, Tensor& value) override { value = value.detach(); }

 private:
  const std::string name_;
};

// Allocations of 70 tokens, one after the other, logits included, after others of that kind.
std::int64_t allocations_of(const DecodeCase& c, bool int8) {
  const torch::NoGradGuard no_grad;
  const auto lm = make_model(config_of(c));
  initialize(*lm, 1);
  Storage storage(c.storage);
  lm->visit(storage);
  Buffers buffers;
  Pass pass = test_pass(false, c.threads);
  pass.buffers = &buffers, pass.int8_activations = int8;
  Cache cache = lm->make_cache();
  Tensor id = torch::zeros({1, 1}, torch::kInt64), logits;
  const auto next = [&](std::int64_t token) {
    *id.mutable_data_ptr<std::int64_t>() = token;
    ForwardState state(pass);
    state.caches = {&cache};
    logits = lm->logits(last_position(lm->hidden(id, state)), pass);
  };
  // The cache has grown to what it stays at, moving what it holds to the front now and then; that of
  // causal attention, which grows for ever, has room for what comes.
  for (std::int64_t i = 0; i < 130; ++i) next(i % 50);
  // Nor does a worker that only now comes to do something: which one does is a matter of timing.
  pass.run.executor->on_each_worker([](int) { Scratch().take<std::byte>(1 << 20); });
  const TensorMemory tensor_memory;
  const std::int64_t before = allocations;
  for (std::int64_t i = 0; i < 70; ++i) next(i % 50);
  const std::int64_t made = allocations - before;
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  return made;
}

TEST(Decoding, AllocatesNothingPerToken) {
  for (const char* attention : {"transformer_xl", "causal"})
    for (const char* layer : {"mixture", "dense"})
      for (const char* storage : {"f32", "bf16", "q16", "two_bit"})
        for (const int threads : {1, 2})
          EXPECT_EQ(allocations_of({attention, layer, storage, threads}, false), 0)
              << attention << " " << layer << " " << storage << ", threads " << threads;
}

TEST(Decoding, AllocatesNothingPerTokenWith8BitActivations) {
  for (const kernels::Coder* coder : kernels::coders())
    if (coder->product_int8) {
      EXPECT_EQ(allocations_of({"transformer_xl", "mixture", coder->name, 1}, true), 0)
          << coder->name;
    }
}

TEST(Decoding, CountsAllocations) {
  const TensorMemory tensor_memory;
  const std::int64_t before = allocations;
  const Tensor x = torch::empty({3});
  EXPECT_GE(allocations - before, 3) << "a tensor, its storage and its memory";
}

// Buffers are no part of the result.
TEST(Decoding, GivesTheSameBitsWithBuffersOrWithout) {
  const torch::NoGradGuard no_grad;
  for (const char* attention : {"transformer_xl", "causal"}) {
    const auto lm = make_model(config_of({attention, "mixture", "f32"}));
    initialize(*lm, 1);
    const auto logits = [&](Buffers* buffers) {
      Pass pass = test_pass();
      pass.buffers = buffers;
      Cache cache = lm->make_cache();
      std::vector<Tensor> all;
      for (const std::int64_t count : {40, 1, 1, 5, 1, 1}) {
        ForwardState state(pass);
        state.caches = {&cache};
        const Tensor ids =
            (torch::arange(count) * 7 + cache.position()).remainder(50).view({1, -1});
        all.push_back(lm->logits(lm->hidden(ids, state), pass));
      }
      return all;
    };
    Buffers buffers;
    const auto with = logits(&buffers), without = logits(nullptr);
    for (std::size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(with[i].equal(without[i])) << i;
  }
}

}  // namespace
}  // namespace mote::model
