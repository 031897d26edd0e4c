#include "checkpoint/tensor_writer.h"

namespace mote::checkpoint {

std::uint64_t num_bytes(const TensorSpec& spec) {
  const ByteCount count = byte_count(spec.dtype, spec.shape);
  MOTE_CHECK(count.problem.empty(), "tensor '", spec.name, "' of shape ", in_brackets(spec.shape),
             " of ", name(spec.dtype), " ", count.problem);
  return count.bytes;
}

TensorWriter::TensorWriter(const fs::path& path, const std::string& header,
                           std::vector<TensorSpec> specs, std::size_t alignment)
    : specs_(std::move(specs)), alignment_(alignment), file_(path) {
  file_.write(header);
  file_.pad_to(alignment_);
  if (!specs_.empty()) left_ = num_bytes(specs_.front());
}

void TensorWriter::write(const std::string& tensor, std::span<const std::byte> bytes) {
  while (current_ < specs_.size() && left_ == 0 && specs_[current_].name != tensor) finish_tensor();
  MOTE_CHECK(current_ < specs_.size(), "tensor '", tensor, "' comes after the last one announced");
  const TensorSpec& spec = specs_[current_];
  MOTE_CHECK(spec.name == tensor, "tensor '", tensor, "' comes while '", spec.name, "' lacks ",
             left_, " bytes");
  MOTE_CHECK(bytes.size() <= left_, "tensor '", tensor, "' lacks ", left_, " bytes and was given ",
             bytes.size());
  file_.write(bytes);
  left_ -= bytes.size();
}

void TensorWriter::finish_tensor() {
  file_.pad_to(alignment_);
  ++current_;
  if (current_ < specs_.size()) left_ = num_bytes(specs_[current_]);
}

void TensorWriter::commit() {
  while (current_ < specs_.size()) {
    MOTE_CHECK(left_ == 0, "tensor '", specs_[current_].name, "' lacks ", left_, " bytes");
    finish_tensor();
  }
  file_.commit();
}

}  // namespace mote::checkpoint
