// Where a family's files have our parameters: a table of names.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace mote::checkpoint {

// How a parameter lies in the tensor that stores it: all of it or, where several were merged into one,
// one of `parts` parts, which take turns in groups of `group` along `axis`; group 0: each is in one
// piece.
struct StoredLayout {
  std::int64_t group = 0, part = 0, parts = 1;
  int axis = 0;             // of the parameter
  bool transposed = false;  // the last two axes are the other way round in the file
  // Codes and scales of MXFP4 in two tensors, NAME_blocks and NAME_scales, as gpt-oss has them.
  bool mxfp4 = false;
  // A matrix of one row lies as a vector, as GGUF has it.
  bool flat = false;
};

// In `name`, * stands for the number of an expert: a stack has a tensor for each.
struct StoredTensor {
  std::string name;
  StoredLayout layout = {};
};

// The name of an expert's tensor, and whether a name has experts.
std::string name_of_expert(const std::string& name, std::int64_t expert);
bool has_experts(const std::string& name);

// Of "blocks.12.norm.weight" and "blocks." 12; -1: the name does not begin so.
std::int64_t number_after(std::string_view prefix, std::string_view name);

// `#` stands for a number, the same in both.
struct NameRule {
  const char* ours;
  const char* theirs;
  StoredLayout layout = {};
};

// Where a parameter lies: by the first rule for it whose tensor is there, else by the first for it, which is
// how the family's own programs write it; an empty name: there is none. `is_there` is asked for names of tensors.
StoredTensor stored_by(std::span<const NameRule> rules, const std::string& ours,
                       const std::function<bool(const std::string&)>& is_there);
}  // namespace mote::checkpoint
