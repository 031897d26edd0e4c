// What bucketed attention adds to its scores, by how far apart query and key are (T5, arXiv 1910.10683,
// section 2.1; specs/checkpoints 2.3): one table for all blocks of a stack.
//
//   bias_h(j - i) = table[bucket(j - i), h],  j the key, i the query
//   bucket: with n buckets for a direction, e = n / 2, M = max_distance and r = |j - i|
//     r                                            for r < e
//     min(n - 1, e + floor((n - e) ln(r / e) / ln(M / e)))   from there on
//   An encoder has the second half of all buckets for keys behind the query; in a decoder there are none,
//   and n is all buckets.
#pragma once

#include "checkpoint/model_config.h"
#include "model/parameters.h"

namespace mote::model {

class PositionBias {
 public:
  PositionBias(const checkpoint::Bucketed& config, std::int64_t dim, bool encoder);
  // [H, D]: column t is for keys M - t before the query, D = M + 1, or 2 M + 1 in an encoder; all that is
  // farther is as the ends are.
  Tensor by_distance() const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  const checkpoint::Bucketed config_;
  const std::int64_t dim_;
  const Tensor bucket_D_;
  Tensor table_BH_;  // [buckets, H]
};

// The bucket of a key at `distance` behind the query (negative: before it).
std::int64_t position_bucket(std::int64_t distance, const checkpoint::Bucketed& config,
                             bool encoder);

}  // namespace mote::model
