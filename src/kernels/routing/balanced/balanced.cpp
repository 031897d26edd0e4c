#include "kernels/routing/balanced/balanced.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/scratch.h"

namespace mote::kernels {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

class Assignment {
 public:
  explicit Assignment(const BalancedAssignment& args)
      : args_(args),
        tokens_(args.scores_NE.size(0)),
        experts_(args.scores_NE.size(1)),
        room_((tokens_ + experts_ - 1) / experts_) {
    const Index pairs = experts_ * experts_;
    member_ = scratch_.take<std::int32_t>(experts_ * room_);
    count_ = scratch_.take<Index>(experts_);
    move_ = scratch_.take<double>(pairs), mover_ = scratch_.take<std::int32_t>(pairs);
    distance_ = scratch_.take<double>(experts_), before_ = scratch_.take<Index>(experts_);
    std::fill_n(count_, experts_, 0);
    std::fill_n(move_, pairs, kFar);
    double largest = 0;
    for (Index n = 0; n < tokens_; ++n)
      for (Index e = 0; e < experts_; ++e)
        if (const double s = std::abs(args.scores_NE(n, e)); std::isfinite(s))
          largest = std::max(largest, s);
    // Below any sum along a path.
    least_ = -4 * static_cast<double>(experts_ + 1) * (largest + 1);
    margin_ = 1e-9 * (largest + 1);
  }

  void place(Index token) {
    for (Index e = 0; e < experts_; ++e) distance_[e] = -score(token, e), before_[e] = -1;
    relax();
    Index to = -1;
    for (Index e = 0; e < experts_; ++e)
      if (count_[e] < room_ && (to < 0 || distance_[e] < distance_[to])) to = e;
    // Back along the path: each expert hands its cheapest token on.
    for (Index from = before_[to]; from >= 0; to = from, from = before_[from]) {
      const std::int32_t mover = mover_[from * experts_ + to];
      remove(mover, from);
      add(mover, to);
    }
    add(static_cast<std::int32_t>(token), to);
  }

 private:
  double score(Index token, Index expert) const {
    const double s = args_.scores_NE(token, expert);
    return std::isfinite(s) ? s : least_;
  }

  void relax() {
    // Equal sums, which rounding would tell apart, are no reason to move.
    bool changed = true;
    for (Index round = 0; changed && round < experts_; ++round) {
      changed = false;
      for (Index e = 0; e < experts_; ++e) {
        if (count_[e] < room_) continue;
        for (Index f = 0; f < experts_; ++f) {
          const double through = distance_[e] + move_[e * experts_ + f];
          if (through < distance_[f] - margin_)
            distance_[f] = through, before_[f] = e, changed = true;
        }
      }
    }
  }

  // What it costs that `token` of expert e goes to f.
  void offer(std::int32_t token, Index e, Index f) {
    const double cost = score(token, e) - score(token, f);
    if (cost < move_[e * experts_ + f])
      move_[e * experts_ + f] = cost, mover_[e * experts_ + f] = token;
  }

  void add(std::int32_t token, Index e) {
    args_.expert_N(token) = static_cast<std::int32_t>(e);
    member_[e * room_ + count_[e]++] = token;
    for (Index f = 0; f < experts_; ++f)
      if (f != e) offer(token, e, f);
  }

  void remove(std::int32_t token, Index e) {
    std::int32_t* members = member_ + e * room_;
    *std::find(members, members + count_[e], token) = members[count_[e] - 1];
    --count_[e];
    for (Index f = 0; f < experts_; ++f) {
      const Index pair = e * experts_ + f;
      if (f == e || mover_[pair] != token) continue;
      move_[pair] = kFar;
      for (Index i = 0; i < count_[e]; ++i) offer(members[i], e, f);
    }
  }

  const BalancedAssignment args_;
  const Index tokens_, experts_, room_;
  Scratch scratch_;
  std::int32_t* member_;  // [E, room]
  Index* count_;          // [E]
  double* move_;          // [E, E]
  std::int32_t* mover_;   // [E, E]
  double* distance_;      // [E]
  Index* before_;         // [E]
  double least_, margin_;
};

}  // namespace

void balanced_assignment(const BalancedAssignment& args) {
  MOTE_CHECK(args.scores_NE.size(0) == args.expert_N.size(0), "balanced_assignment: scores of ",
             args.scores_NE.size(0), " tokens, experts for ", args.expert_N.size(0));
  MOTE_CHECK(args.scores_NE.size(0) == 0 || args.scores_NE.size(1) > 0,
             "balanced_assignment: tokens but no experts");
  if (args.scores_NE.size(0) == 0) return;
  Assignment assignment(args);
  for (Index n = 0; n < args.scores_NE.size(0); ++n) assignment.place(n);
}

}  // namespace mote::kernels
