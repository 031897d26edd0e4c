#include "base/nearest.h"

#include <algorithm>
#include <numeric>

namespace mote {

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view wanted, const std::vector<std::string>& known) {
  int best = static_cast<int>(wanted.size()) / 3 + 2;
  std::string found;
  for (const std::string& candidate : known) {
    const int distance = edit_distance(wanted, candidate);
    if (distance < best) best = distance, found = candidate;
  }
  return found;
}

std::string did_you_mean(std::string_view wanted, const std::vector<std::string>& known) {
  const std::string found = nearest(wanted, known);
  return found.empty() ? "" : ", did you mean '" + found + "'?";
}

}  // namespace mote
