#include "checkpoint/tensor_source.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "base/nearest.h"
#include "checkpoint/gguf.h"
#include "checkpoint/refuse.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/shard_index.h"
#include "checkpoint/torch_pickle.h"

namespace mote::checkpoint {
namespace {

constexpr std::string_view kPointer = "version https://git-lfs";

class Shards final : public TensorSource {
 public:
  // Index and files, or files alone.
  explicit Shards(std::vector<fs::path> files) : files_(std::move(files)) {
    const bool indexed = is_index(files_.front());
    for (std::size_t i = indexed ? 1 : 0; i < files_.size(); ++i) add(files_[i]);
    if (indexed) keep_what_the_index_names();
  }
  const std::map<std::string, Tensor>& tensors() const override { return tensors_; }
  const fs::path& path() const override { return files_.front(); }
  std::string format() const override { return sources_.front()->format(); }
  std::vector<fs::path> files() const override { return files_; }
  const Tensor& at(const std::string& name) const override {
    const auto found = source_of_.find(name);
    return found == source_of_.end() ? TensorSource::at(name) : found->second->at(name);
  }

 private:
  void add(const fs::path& file) {
    sources_.push_back(open_file(file));
    for (const auto& [tensor, value] : sources_.back()->tensors()) {
      if (!source_of_.emplace(tensor, sources_.back().get()).second)
        refuse_file(path().string(), tensor,
                    concat("tensor '", tensor, "' lies in ", file_of(tensor), " and in ",
                           file.filename().string(), "; one of them belongs to another model"));
      tensors_[tensor] = value;
    }
  }
  void keep_what_the_index_names() {
    const std::string index = path().string();
    const auto map = parse_shard_index(read_file(path()), index);
    for (const auto& [tensor, file] : map) {
      if (!source_of_.contains(tensor))
        refuse_file(index, tensor,
                    concat("tensor '", tensor, "' is said to be in ", file,
                           ", which has no such tensor; download both anew"));
      if (file_of(tensor) != file)
        refuse_file(index, tensor,
                    concat("tensor '", tensor, "' is said to be in ", file, " and lies in ",
                           file_of(tensor), "; the files belong to different models"));
    }
    const auto is_left = [&](const auto& tensor) { return !map.contains(tensor.first); };
    const auto first = std::find_if(tensors_.begin(), tensors_.end(), is_left);
    if (first == tensors_.end()) return;
    const std::string name = first->first;
    const std::size_t left = std::erase_if(tensors_, is_left);
    std::erase_if(source_of_, is_left);
    log::warn(concat(index, ": leaves out ", left, " tensors of its files, '", name,
                     "' the first; they are not used"));
  }
  std::string file_of(const std::string& tensor) const {
    return source_of_.at(tensor)->path().filename().string();
  }

  const std::vector<fs::path> files_;
  std::vector<std::shared_ptr<const TensorSource>> sources_;
  std::map<std::string, const TensorSource*> source_of_;
  std::map<std::string, Tensor> tensors_;
};

bool begins_with(std::span<const std::byte> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

}  // namespace

const Tensor& TensorSource::at(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found != tensors().end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [each, unused] : tensors()) known.push_back(each);
  throw Error(ErrorKind::file, concat(path().string(), ": tensor '", name, "' is not in the file",
                                      did_you_mean(name, known)))
      .in(path().string())
      .at(name);
}

std::vector<std::string> UsedTensors::unused(const Ignored& ignored) const {
  std::vector<std::string> left;
  for (const auto& [name, value] : tensors())
    if (!used_.contains(name) && !ignored(name)) left.push_back(name);
  return left;
}

void UsedTensors::check_all_used(const Ignored& ignored) const {
  const std::vector<std::string> left = unused(ignored);
  if (left.empty()) return;
  refuse_file(
      path().string(), left.front(),
      concat("tensor '", left.front(), "'",
             left.size() > 1 ? concat(" and ", left.size() - 1, " more belong") : " belongs",
             " to nothing that config.json describes; the two files do not belong "
             "together"));
}

std::shared_ptr<const TensorSource> open_file(const fs::path& file) {
  const MappedFile mapped(file);
  const std::string extension = file.extension().string();
  if (begins_with(mapped.bytes(), kPointer))
    refuse_file(file.string(), "", "is a pointer of Git LFS and not the file; run `git lfs pull`");
  if (begins_with(mapped.bytes(), "GGUF") || extension == ".gguf")
    return std::make_shared<const GgufFile>(file);
  if (is_torch_pickle(mapped.bytes()) || extension == ".bin" || extension == ".pt" ||
      extension == ".pth")
    return std::make_shared<const TorchPickleFile>(file);
  return std::make_shared<const SafetensorsFile>(file);
}

bool is_tensor_file(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return false;
  const std::string extension = file.extension().string();
  for (const char* known : {".safetensors", ".gguf", ".bin", ".pt", ".pth"})
    if (extension == known) return true;
  const MappedFile mapped(file);
  const auto bytes = mapped.bytes();
  return begins_with(bytes, "GGUF") || is_torch_pickle(bytes) ||
         (bytes.size() > 8 && bytes[8] == std::byte{'{'});
}

std::shared_ptr<const TensorSource> open_tensors(const fs::path& path) {
  std::vector<fs::path> files = model_files(path);
  // A GGUF file finds its own parts.
  if (files.size() == 1 || files.front().extension() == ".gguf") return open_file(files.front());
  return std::make_shared<const Shards>(std::move(files));
}

}  // namespace mote::checkpoint
