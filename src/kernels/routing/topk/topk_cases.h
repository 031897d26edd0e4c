// Shapes and scores of top-k: plain, tied, and with NaN and infinities.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/routing/topk/topk.h"

namespace mote::kernels {

enum class Scores { distinct, tied, broken };

struct TopkCase {
  Index rows, experts, k;
  Scores scores = Scores::distinct;
};

inline std::string case_name(const TopkCase& c) {
  constexpr const char* kNames[] = {"distinct", "tied", "broken"};
  return word("rows", c.rows) + word("_experts", c.experts) + word("_k", c.k) + "_" +
         kNames[static_cast<int>(c.scores)];
}

inline std::vector<TopkCase> topk_cases() {
  std::vector<TopkCase> cases = {{0, 16, 4}, {600, 64, 8}};
  for (Index experts : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100})
    for (const Scores scores : {Scores::distinct, Scores::tied, Scores::broken}) {
      cases.push_back({40, experts, (experts + 2) / 3, scores});
      if (experts > 1) cases.push_back({40, experts, experts, scores});
    }
  for (const Scores scores : {Scores::distinct, Scores::tied, Scores::broken})
    for (const Index experts : {64, 127, 1024})
      for (const Index k : {1, 4, 8, 9, 16, 32, 33}) cases.push_back({40, experts, k, scores});
  return cases;
}

// Row-major [rows, experts + 3].
inline std::vector<float> topk_scores(const TopkCase& c) {
  std::vector<float> scores = normals(c.rows * (c.experts + 3), 1);
  constexpr float kBroken[] = {
      NAN, -INFINITY, INFINITY, -0.0f, 0.0f, 1.0f, std::numeric_limits<float>::lowest()};
  for (float& each : scores) {
    const auto number = static_cast<std::size_t>(std::abs(each) * 1000);
    if (c.scores == Scores::tied) each = static_cast<float>(number % 3);
    if (c.scores == Scores::broken) each = kBroken[number % std::size(kBroken)];
  }
  return scores;
}

}  // namespace mote::kernels
