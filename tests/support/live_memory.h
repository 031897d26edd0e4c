// Bytes that LibTorch's CPU tensors hold, while one of these exists.
#pragma once

#include <c10/core/CPUAllocator.h>
#include <atomic>

namespace mote::testing {

class LiveMemory final : public at::Allocator {
 public:
  LiveMemory() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, kPriority); }
  ~LiveMemory() override { c10::SetCPUAllocator(inner_, kPriority); }

  std::int64_t bytes() const { return bytes_; }

  at::DataPtr allocate(std::size_t n) override {
    auto* block = new Block{inner_->allocate(n), this, static_cast<std::int64_t>(n)};
    bytes_ += block->size;
    return {block->memory.get(), block, release, c10::Device(c10::DeviceType::CPU)};
  }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    inner_->copy_data(to, from, count);
  }

 private:
  static constexpr std::uint8_t kPriority = 200;
  struct Block {
    at::DataPtr memory;
    LiveMemory* owner;
    std::int64_t size;
  };
  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    block->owner->bytes_ -= block->size;
    delete block;
  }

  at::Allocator* inner_;
  std::atomic<std::int64_t> bytes_{0};
};

}  // namespace mote::testing
