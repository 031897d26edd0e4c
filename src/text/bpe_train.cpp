#include "text/bpe_train.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <queue>
#include <unordered_map>

#include "base/check.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/process.h"
#include "text/pretokenize.h"

namespace mote::text {
namespace {

constexpr std::size_t kPartBytes = std::size_t{1} << 20;

using PieceCounts = std::unordered_map<std::string_view, std::uint64_t>;

struct Pair {
  TokenId left, right;
  bool operator==(const Pair&) const = default;
  auto operator<=>(const Pair&) const = default;  // NOLINT(modernize-use-nullptr): there is no 0
};
struct PairHash {
  std::size_t operator()(const Pair& pair) const {
    const auto key =
        static_cast<std::uint64_t>(pair.left) << 32 | static_cast<std::uint32_t>(pair.right);
    return static_cast<std::size_t>((key ^ key >> 29) * 0x9E3779B97F4A7C15u);
  }
};

// All pieces as one chain of symbols, and where each pair of neighbours stands in it.
//
// Positions in a pair's list are in increasing order. They are not removed when a neighbour is
// merged away: a position counts only while the pair is still found there. A new pair always holds
// the symbol made last, so after a merge the counts of all other pairs can only have fallen.
class Learner {
 public:
  explicit Learner(const std::vector<CountedPiece>& pieces);
  // Does the next merge, which makes `result`; nothing when no pair occurs twice.
  std::optional<Merge> merge_best(TokenId result);

 private:
  using Position = std::uint32_t;
  static constexpr Position kEnd = std::numeric_limits<Position>::max();
  static constexpr TokenId kMerged = -1;  // into the symbol before it

  struct Symbol {
    TokenId id;
    Position previous, next;  // inside the piece; kEnd at its ends
    std::uint32_t piece;
  };
  struct Occurrences {
    std::uint64_t count = 0;
    std::vector<Position> positions;  // of the left symbol
  };
  struct Candidate {
    std::uint64_t count;  // when queued: never below what it is now
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void add(Position at);
  void forget(Position at);
  void merge_at(Position at, TokenId result);
  bool stands_at(const Pair& pair, Position at) const;
  std::uint64_t weight(Position at) const { return pieces_[symbols_[at].piece].count; }
  Pair pair_at(Position at) const { return {symbols_[at].id, symbols_[symbols_[at].next].id}; }

  const std::vector<CountedPiece>& pieces_;
  std::vector<Symbol> symbols_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> made_;  // pairs that the merge being done has made
};

Learner::Learner(const std::vector<CountedPiece>& pieces) : pieces_(pieces) {
  std::uint64_t total = 0;
  for (const CountedPiece& piece : pieces) total += piece.bytes.size();
  MOTE_CHECK(total < kEnd, "train_bpe: the different words have ", total, " bytes and at most ",
             kEnd, " can be handled; use less text");
  symbols_.reserve(total);
  for (std::uint32_t p = 0; p < pieces.size(); ++p) {
    const auto begin = static_cast<Position>(symbols_.size());
    const auto end = static_cast<Position>(begin + pieces[p].bytes.size());
    for (Position at = begin; at < end; ++at)
      symbols_.push_back({static_cast<std::uint8_t>(pieces[p].bytes[at - begin]),
                          at > begin ? at - 1 : kEnd, at + 1 < end ? at + 1 : kEnd, p});
  }
  for (Position at = 0; at < symbols_.size(); ++at) {
    stop_if_interrupted();
    if (symbols_[at].next != kEnd) add(at);
  }
  for (const auto& [pair, found] : pairs_) queue_.push({found.count, pair});
  made_.clear();
}

void Learner::add(Position at) {
  Occurrences& found = pairs_[pair_at(at)];
  if (found.positions.empty()) made_.push_back(pair_at(at));
  found.count += weight(at);
  found.positions.push_back(at);
}

void Learner::forget(Position at) {
  pairs_.at(pair_at(at)).count -= weight(at);
}

bool Learner::stands_at(const Pair& pair, Position at) const {
  return symbols_[at].id == pair.left && symbols_[at].next != kEnd &&
         symbols_[symbols_[at].next].id == pair.right;
}

void Learner::merge_at(Position at, TokenId result) {
  Symbol& left = symbols_[at];
  const Position right = left.next;
  const Position after = symbols_[right].next;
  if (left.previous != kEnd) forget(left.previous);
  if (after != kEnd) forget(right);
  left.id = result;
  left.next = after;
  symbols_[right].id = kMerged;
  if (after != kEnd) symbols_[after].previous = at, add(at);
  if (left.previous != kEnd) add(left.previous);
}

std::optional<Merge> Learner::merge_best(TokenId result) {
  while (!queue_.empty()) {
    const Candidate best = queue_.top();
    queue_.pop();
    const std::uint64_t count = pairs_.at(best.pair).count;
    if (count < best.count) {
      if (count >= 2) queue_.push({count, best.pair});
      continue;
    }
    if (count < 2) return std::nullopt;
    const std::vector<Position> positions = std::move(pairs_.at(best.pair).positions);
    made_.clear();
    for (const Position at : positions) {
      stop_if_interrupted();
      if (stands_at(best.pair, at)) merge_at(at, result);
    }
    pairs_.erase(best.pair);
    for (const Pair& pair : made_) queue_.push({pairs_.at(pair).count, pair});
    return Merge{best.pair.left, best.pair.right, result};
  }
  return std::nullopt;
}

}  // namespace

std::vector<CountedPiece> count_pieces(const std::vector<std::string_view>& documents,
                                       int threads) {
  std::vector<std::string_view> parts;
  for (const std::string_view document : documents)
    for (const std::string_view part : cut_between_words(document, kPartBytes))
      parts.push_back(part);

  // Sums do not depend on which worker counted what.
  const PreTokenizer pre_tokenizer({kGpt2Pattern});
  const ThreadPool pool(threads);
  std::vector<PieceCounts> counts(static_cast<std::size_t>(pool.threads()));
  parallel_for(pool, static_cast<std::int64_t>(parts.size()), [&](std::int64_t i, int worker) {
    stop_if_interrupted();
    PieceCounts& mine = counts[static_cast<std::size_t>(worker)];
    pre_tokenizer.split(parts[static_cast<std::size_t>(i)], [&](std::string_view piece) {
      stop_if_interrupted();
      ++mine[piece];
    });
  });
  PieceCounts& all = counts.front();
  for (std::size_t worker = 1; worker < counts.size(); ++worker)
    for (const auto& [bytes, count] : counts[worker]) all[bytes] += count;

  std::vector<CountedPiece> pieces;
  pieces.reserve(all.size());
  for (const auto& [bytes, count] : all) pieces.push_back({bytes, count});
  std::sort(pieces.begin(), pieces.end(),
            [](const CountedPiece& a, const CountedPiece& b) { return a.bytes < b.bytes; });
  return pieces;
}

std::vector<Merge> learn_merges(const std::vector<CountedPiece>& pieces, TokenId first_result,
                                int most) {
  std::vector<Merge> merges;
  Learner learner(pieces);
  log::Progress progress("merging", most, "pairs");
  while (static_cast<int>(merges.size()) < most) {
    const auto result = first_result + static_cast<TokenId>(merges.size());
    const std::optional<Merge> merge = learner.merge_best(result);
    if (!merge) break;
    merges.push_back(*merge);
    stop_if_interrupted();
    progress.update(static_cast<std::int64_t>(merges.size()));
  }
  return merges;
}

}  // namespace mote::text
