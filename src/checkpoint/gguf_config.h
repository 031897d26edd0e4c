// The keys of a GGUF file that say what its model is, which know what was asked of them: a key of the
// architecture that nobody reads and no list ignores is an error by name.
//
// Names here are without the architecture: "block_count" is "llama.block_count". general.*,
// tokenizer.*, split.* and quantize.* are not the model's.
#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include "checkpoint/gguf.h"
#include "checkpoint/rotary_config.h"

namespace mote::checkpoint {

class GgufConfig {
 public:
  explicit GgufConfig(const GgufSource& file);

  const std::string& architecture() const { return architecture_; }
  const std::string& file() const { return file_; }
  std::string full(const std::string& name) const { return architecture_ + "." + name; }
  bool has(const std::string& name) const;
  // Throws a file error where the key is missing, without a fallback, or of another type.
  std::int64_t integer(const std::string& name) const;
  std::int64_t integer(const std::string& name, std::int64_t otherwise) const;
  double number(const std::string& name) const;
  double number(const std::string& name, double otherwise) const;
  bool flag(const std::string& name, bool otherwise) const;
  // A whole number, or an array of `count` equal ones, as some writers have it for layers.
  std::int64_t per_layer(const std::string& name, std::int64_t count, std::int64_t otherwise) const;

  // With another value than this the model would be another.
  void only(const std::string& name, std::int64_t value) const;
  void ignore(std::initializer_list<const char*> names) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const;

  // rope.freq_base (else `base`), rope.dimension_count, rope.scaling.*, rope.scale_linear. `context`:
  // context_length.
  RotaryConfig rotary(double base, std::int64_t context) const;

  void check_all_used() const;

 private:
  std::string text(const std::string& name, const std::string& otherwise) const;

  const GgufKeys& keys_;
  const std::string file_, architecture_;
  mutable std::set<std::string> used_;
};

}  // namespace mote::checkpoint
