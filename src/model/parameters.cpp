#include "model/parameters.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"

namespace mote::model {

std::int64_t Parameter::count() const {
  std::int64_t product = 1;
  for (const std::int64_t n : shape) product *= n;
  return product;
}

void ParameterVisitor::table(const Parameter& parameter, RowTablePtr&) {
  throw Error(ErrorKind::unsupported,
              concat("'", parameter.name, "' is a table of rows, which this does not read yet"))
      .at(parameter.name);
}

WeightShape weight_shape(const Parameter& matrix) {
  const std::vector<std::int64_t>& s = matrix.shape;
  return s.size() == 3 ? WeightShape{s[0], s[1], s[2], true} : WeightShape{1, s[0], s[1], false};
}

Tensor normalize_rows(const Tensor& w) {
  const Tensor rows = w / w.norm(2, -1, true);
  return rows * (w.std() / rows.std());
}

Tensor initial_values(const std::vector<std::int64_t>& shape, const Init& init,
                      const std::string& name, std::uint64_t seed, const Executor& executor) {
  if (!init.of.empty()) {
    std::vector<std::int64_t> whole = shape, split = {-1, init.parts, init.group};
    whole.front() *= init.parts;
    split.insert(split.end(), shape.begin() + 1, shape.end());
    return initial_values(whole, {init.kind, init.value}, init.of, seed, executor)
        .view(split)
        .select(1, init.part)
        .reshape(shape);
  }
  Tensor x = table_memory(shape);
  const Rng rng(seed, Purpose::initialization, name_key(name));
  float* out = x.mutable_data_ptr<float>();
  const auto fill = [&](const auto& draw) {
    constexpr std::int64_t kPart = 1 << 16;
    const std::int64_t count = x.numel();
    parallel_for(executor, (count + kPart - 1) / kPart, [&](std::int64_t part, int) {
      for (std::int64_t i = part * kPart; i < std::min(count, (part + 1) * kPart); ++i)
        out[i] = static_cast<float>(draw(static_cast<std::uint64_t>(i)));
    });
  };
  switch (init.kind) {
    case Init::Kind::zeros:
      x.zero_();
      break;
    case Init::Kind::ones:
      x.fill_(1);
      break;
    case Init::Kind::constant:
      x.fill_(init.value);
      break;
    case Init::Kind::normal:
      fill([&](std::uint64_t i) { return init.value * rng.normal(i); });
      break;
    case Init::Kind::uniform:
      fill([&](std::uint64_t i) {
        return init.value * (2 * static_cast<double>(rng.uniform(i)) - 1);
      });
      break;
    case Init::Kind::exact_normal:
      // A draw outside +-2 is made again from indices that no first draw has.
      fill([&](std::uint64_t i) {
        double value = rng.normal(i);
        for (std::uint64_t again = 1; std::abs(value) > 2; ++again)
          value = rng.normal(i + again * static_cast<std::uint64_t>(x.numel()));
        return value;
      });
      x *= init.value / x.std().item<double>();
      break;
    case Init::Kind::row_normalized:
      fill([&](std::uint64_t i) { return init.value * rng.normal(i); });
      if (x.size(-1) > 1) x = normalize_rows(x);
      break;
  }
  return x;
}

}  // namespace mote::model
