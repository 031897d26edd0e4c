#include "checkpoint/qmoe.h"

#include <algorithm>
#include <vector>

#include "checkpoint/refuse.h"
#include "kernels/packed/q16/q16.h"

namespace mote::checkpoint {
namespace {

// NAME of an expert's matrix.
std::string matrix_name(const StoredTensor& where, std::int64_t expert) {
  std::string name = name_of_expert(where.name, expert);
  constexpr std::string_view kWeight = ".weight";
  if (name.ends_with(kWeight)) name.resize(name.size() - kWeight.size());
  return name;
}

class Parts {
 public:
  Parts(const TensorSource& files, std::string name, const kernels::StackShape& shape)
      : file_(files.path().string()),
        name_(std::move(name)),
        codes_(files.at(name_ + ".w_comp")),
        offsets_(files.at(name_ + ".row_off").copied<std::int32_t>()),
        levels_(files.at(name_ + ".ter_minmax")) {
    files.at(name_ + ".weight");  // empty, and used
    const auto expect = [&](const Tensor& part, const char* what, Dtype type, std::int64_t count) {
      if (part.dtype != type || part.num_elements() != count)
        refuse(what, concat("is ", checkpoint::name(part.dtype), " ", in_brackets(part.shape), "; ",
                            checkpoint::name(type), " [", count, "] belongs there"));
    };
    const auto rows = static_cast<std::size_t>(shape.rows);
    if (offsets_.size() != rows + 1)
      refuse(".row_off", concat("has ", offsets_.size(), " offsets, a matrix of ", rows,
                                " rows has ", rows + 1));
    expect(codes_, ".w_comp", Dtype::i16, codes_.num_elements());
    expect(levels_, ".ter_minmax", Dtype::bf16, 2 * shape.rows);
    if (offsets_.front() != 0 || offsets_.back() != codes_.num_elements())
      refuse(".row_off", concat("goes from ", offsets_.front(), " to ", offsets_.back(),
                                "; there are ", codes_.num_elements(), " codewords"));
    if (!std::is_sorted(offsets_.begin(), offsets_.end())) refuse(".row_off", "falls");
  }

  std::int64_t codes() const { return codes_.num_elements(); }

  // Behind the codewords of the experts before.
  void put(kernels::PackedStack& stack, const kernels::StackShape& shape, std::int64_t expert,
           std::int64_t first) const {
    std::memcpy(stack.part<std::uint16_t>(kernels::kQ16Codes) + first, codes_.bytes.data(),
                codes_.bytes.size());
    stack.part<std::uint64_t>(kernels::kQ16Offsets)[expert + 1] =
        static_cast<std::uint64_t>(first + codes());
    const std::int64_t group = kernels::q16_group_rows(shape.columns),
                       groups = kernels::q16_num_groups(shape.rows, shape.columns);
    auto* base = stack.part<std::uint32_t>(kernels::kQ16RowBase) + expert * groups;
    auto* start = stack.part<std::uint16_t>(kernels::kQ16RowStart) + expert * shape.rows;
    for (std::int64_t row = 0; row < shape.rows; ++row) {
      const auto at = static_cast<std::uint32_t>(offsets_[static_cast<std::size_t>(row)]);
      if (row % group == 0) base[row / group] = at;
      const std::uint32_t within = at - base[row / group];
      if (within > 65535)
        refuse(".row_off", concat("has more codewords in the rows before row ", row, " than ",
                                  shape.columns, " columns can take"));
      start[row] = static_cast<std::uint16_t>(within);
    }
    std::memcpy(stack.part<std::uint16_t>(kernels::kQ16Levels) + expert * shape.rows * 2,
                levels_.bytes.data(), levels_.bytes.size());
  }

 private:
  [[noreturn]] void refuse(const char* part, const std::string& what) const {
    refuse_file(file_, name_ + part, concat("tensor '", name_, part, "' ", what));
  }

  const std::string file_, name_;
  const Tensor& codes_;
  const std::vector<std::int32_t> offsets_;
  const Tensor& levels_;
};

}  // namespace

bool is_qmoe_stack(const TensorSource& files, const StoredTensor& where) {
  return has_experts(where.name) && files.has(matrix_name(where, 0) + ".w_comp");
}

std::shared_ptr<const kernels::PackedStack> read_qmoe_stack(const TensorSource& files,
                                                            const StoredTensor& where,
                                                            const kernels::StackShape& shape,
                                                            const Executor& executor) {
  std::vector<Parts> experts;
  std::int64_t total = 0;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    experts.emplace_back(files, matrix_name(where, e), shape);
    total += experts.back().codes();
  }
  auto stack = std::make_shared<kernels::PackedStack>(kernels::kQ16, shape, total);
  std::int64_t first = 0;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    const Parts& parts = experts[static_cast<std::size_t>(e)];
    parts.put(*stack, shape, e, first);
    first += parts.codes();
  }
  kernels::validate(stack->view(), concat(files.path().string(), ": ", where.name), executor);
  return stack;
}

}  // namespace mote::checkpoint
