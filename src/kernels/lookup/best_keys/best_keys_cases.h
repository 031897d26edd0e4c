// Queries and keys whose best are hard to tell apart in 8 bits, and those that 8 bits do not suit.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/lookup/best_keys/best_keys.h"

namespace mote::kernels {

enum class KeyValues {
  normal,
  outliers,  // one number of a row is 100 times as large
  norms,     // keys between 2^-10 and 2^9 times as long
  whole,     // whole numbers up to 200: float32 sums are exact
  close,     // whole numbers, keys that differ by 1 here and there: many tie, others nearly do
  equal,     // of whole numbers, one key many times
  zeros,     // every third key, every second query
  broken,    // queries with NaN, infinities, numbers beyond and below what 8 bits are used for
};

struct BestKeysCase {
  Index queries, keys, columns, k;
  KeyValues values = KeyValues::normal;
};

inline std::string case_name(const BestKeysCase& c) {
  const char* names[] = {"normal", "outliers", "norms", "whole",
                         "close",  "equal",    "zeros", "broken"};
  return word("queries", c.queries) + word("_keys", c.keys) + word("_columns", c.columns) +
         word("_k", c.k) + "_" + names[static_cast<int>(c.values)];
}

inline std::vector<BestKeysCase> best_keys_cases() {
  std::vector<BestKeysCase> cases = {{0, 256, 8, 4}};
  for (int v = 0; v <= static_cast<int>(KeyValues::broken); ++v)
    for (const Index keys : {256, 333, 1024})
      for (const Index columns : {1, 7, 33, 128})
        cases.push_back({columns == 33 ? 50 : 27, keys, columns, columns == 7 ? 32 : keys / 64 + 1,
                         static_cast<KeyValues>(v)});
  return cases;
}

struct BestKeysData {
  BestKeysCase shape;
  std::vector<float> q, keys;

  explicit BestKeysData(const BestKeysCase& c)
      : shape(c), q(normals(c.queries * q_stride(), 1)), keys(normals(c.keys * key_stride(), 2)) {
    const auto whole = [](std::vector<float>& x, double scale) {
      for (float& each : x)
        each = static_cast<float>(std::round(std::fmin(200, std::fabs(scale * each))) *
                                  (each < 0 ? -1 : 1));
    };
    switch (c.values) {
      case KeyValues::normal:
        break;
      case KeyValues::outliers:
        for (Index j = 0; j < c.keys; ++j) key(j)[j % c.columns] *= 100;
        for (Index m = 0; m < c.queries; ++m) query(m)[m % c.columns] *= 100;
        break;
      case KeyValues::norms:
        for (Index j = 0; j < c.keys; ++j)
          for (Index i = 0; i < c.columns; ++i)
            key(j)[i] = std::ldexp(key(j)[i], static_cast<int>(j % 20) - 10);
        break;
      case KeyValues::whole:
        whole(q, 70), whole(keys, 70);
        break;
      case KeyValues::close:
        whole(q, 70), whole(keys, 0.5);
        for (Index j = 0; j < c.keys; ++j)
          for (Index i = 0; i < c.columns; ++i) key(j)[i] += static_cast<float>(150 - 9 * i % 200);
        break;
      case KeyValues::equal:
        whole(q, 70), whole(keys, 70);
        for (Index j = 1; j < c.keys; ++j)
          for (Index i = 0; i < c.columns; ++i) key(j)[i] = key(0)[i];
        break;
      case KeyValues::zeros:
        for (Index j = 0; j < c.keys; j += 3)
          for (Index i = 0; i < c.columns; ++i) key(j)[i] = 0;
        for (Index m = 0; m < c.queries; m += 2)
          for (Index i = 0; i < c.columns; ++i) query(m)[i] = 0;
        break;
      case KeyValues::broken:
        for (Index m = 0; m < c.queries; ++m) {
          if (m % 5 == 0) query(m)[m % c.columns] = NAN;
          if (m % 5 == 1) query(m)[m % c.columns] = INFINITY;
          for (Index i = 0; i < c.columns; ++i) {
            if (m % 5 == 2) query(m)[i] *= 1e20f;
            if (m % 5 == 3) query(m)[i] *= 1e-20f;
          }
        }
        break;
    }
  }
  Index q_stride() const { return shape.columns + 5; }
  Index key_stride() const { return shape.columns + 3; }
  float* query(Index m) { return q.data() + m * q_stride(); }
  float* key(Index j) { return keys.data() + j * key_stride(); }
  View<const float, 2> q_MC() const {
    return {q.data(), {shape.queries, shape.columns}, {q_stride(), 1}};
  }
  View<const float, 2> keys_NC() const {
    return {keys.data(), {shape.keys, shape.columns}, {key_stride(), 1}};
  }
  bool exact() const {
    return shape.values == KeyValues::whole || shape.values == KeyValues::close ||
           shape.values == KeyValues::equal;
  }
};

// Memory at a multiple of 64.
struct alignas(64) Line {
  std::byte bytes[64] = {};
};
inline std::vector<Line> lines_of(Index bytes) {
  return std::vector<Line>(static_cast<std::size_t>((bytes + 63) / 64));
}

// Keys laid out and memory to work in.
struct BestKeysMemory {
  std::vector<Line> keys, work;
  BestKeysMemory(const BestKeysData& data, const Variant<LayOutKeys>& lay_out)
      : keys(lines_of(KeyLayout(data.shape.keys, data.shape.columns).bytes())),
        work(lines_of(BestKeys::work_bytes(KeyLayout(data.shape.keys, data.shape.columns)))) {
    lay_out.call({data.keys_NC(), keys.front().bytes}, {});
  }
};

}  // namespace mote::kernels
