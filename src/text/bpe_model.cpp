#include "text/bpe_model.h"

#include <limits>
#include <queue>
#include <unordered_map>

#include "base/check.h"
#include "base/file.h"
#include "base/process.h"
#include "text/pretokenize.h"
#include "text/tokenizer_json.h"

namespace mote::text {
namespace {

// A call remembers how it encoded this many different pieces, and none longer than that: enough for
// the words of a document, little memory for a hostile one.
constexpr std::size_t kCachedPieces = std::size_t{1} << 16;
constexpr std::size_t kCachedBytes = 64;

constexpr std::int32_t kNone = -1;

std::uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

// Rank is the merge's place in the list.
struct RankedMerge {
  std::int32_t rank;
  TokenId result;
};
using MergeTable = std::unordered_map<std::uint64_t, RankedMerge>;

// The merges inside one piece, the lowest rank first and the leftmost of equals, in O(n log n).
class PieceMerger {
 public:
  PieceMerger(const MergeTable& merges, const std::array<TokenId, 256>& byte_ids)
      : merges_(merges), byte_ids_(byte_ids) {}

  void append(std::string_view piece, std::vector<TokenId>& ids) {
    start(piece);
    while (!queue_.empty()) {
      stop_if_interrupted();  // one word may be a whole file
      const Candidate best = queue_.top();
      queue_.pop();
      if (still_there(best)) merge(best);
    }
    for (std::int32_t at = 0; at != kNone; at = symbol(at).next) ids.push_back(symbol(at).id);
  }

 private:
  struct Symbol {
    TokenId id;  // kNone once merged into the one before it
    std::int32_t previous, next;
  };
  struct Candidate {
    RankedMerge merge;
    std::int32_t at;  // the left symbol
    bool operator>(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : at > other.at;
    }
  };

  Symbol& symbol(std::int32_t at) { return symbols_[static_cast<std::size_t>(at)]; }

  void start(std::string_view piece) {
    MOTE_CHECK(piece.size() <= std::numeric_limits<std::int32_t>::max(), "a word of ", piece.size(),
               " bytes is too long to encode; cut the text");
    symbols_.clear();
    const auto size = static_cast<std::int32_t>(piece.size());
    for (std::int32_t i = 0; i < size; ++i) {
      const auto byte = static_cast<std::uint8_t>(piece[static_cast<std::size_t>(i)]);
      symbols_.push_back({byte_ids_[byte], i - 1, i + 1 < size ? i + 1 : kNone});
    }
    for (std::int32_t i = 0; i + 1 < size; ++i) stop_if_interrupted(), consider(i);
  }

  const RankedMerge* merge_at(std::int32_t at) {
    const std::int32_t next = symbol(at).next;
    if (symbol(at).id == kNone || next == kNone) return nullptr;
    const auto found = merges_.find(pair_key(symbol(at).id, symbol(next).id));
    return found == merges_.end() ? nullptr : &found->second;
  }

  void consider(std::int32_t at) {
    if (const RankedMerge* merge = merge_at(at)) queue_.push({*merge, at});
  }

  bool still_there(const Candidate& candidate) {
    const RankedMerge* merge = merge_at(candidate.at);
    return merge != nullptr && merge->rank == candidate.merge.rank;
  }

  void merge(const Candidate& best) {
    Symbol& left = symbol(best.at);
    Symbol& right = symbol(left.next);
    left.id = best.merge.result;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) symbol(left.next).previous = best.at, consider(best.at);
    if (left.previous != kNone) consider(left.previous);
  }

  const MergeTable& merges_;
  const std::array<TokenId, 256>& byte_ids_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeModel model)
      : model_(std::move(model)), pre_tokenizer_(model_.patterns) {
    std::int32_t rank = 0;
    for (const Merge& merge : model_.merges)
      merges_.emplace(pair_key(merge.left, merge.right), RankedMerge{rank++, merge.result});
    if (!model_.ignore_merges) return;
    for (std::size_t id = 0; id < model_.tokens.size(); ++id)
      if (!model_.tokens[id].added)
        whole_.emplace(model_.tokens[id].bytes, static_cast<TokenId>(id));
  }

  using Tokenizer::encode;
  int vocab_size() const override { return static_cast<int>(model_.tokens.size()); }
  TokenId end_of_text() const override { return model_.end_of_text; }
  void encode(std::string_view text, std::vector<TokenId>& ids) const override;
  std::vector<std::string_view> parts(std::string_view text, std::size_t bytes) const override {
    if (text.empty() || model_.patterns != std::vector<std::string>{kGpt2Pattern}) return {text};
    return cut_between_words(text, bytes);
  }
  std::string_view bytes(TokenId id) const override;
  void save(const std::filesystem::path& folder) const override {
    write_file(folder / kTokenizerFile,
               model_.source.empty() ? to_tokenizer_json(model_) : model_.source);
  }

 private:
  const BpeModel model_;
  const PreTokenizer pre_tokenizer_;
  MergeTable merges_;
  std::unordered_map<std::string_view, TokenId> whole_;  // with ignore_merges: token by its bytes
};

std::string_view BpeTokenizer::bytes(TokenId id) const {
  MOTE_CHECK(id >= 0 && id < vocab_size(), "token id ", id, " is outside the vocabulary of ",
             vocab_size());
  const BpeModel::Token& token = model_.tokens[static_cast<std::size_t>(id)];
  return token.special ? std::string_view() : std::string_view(token.bytes);
}

void BpeTokenizer::encode(std::string_view text, std::vector<TokenId>& ids) const {
  if (merges_.empty() && whole_.empty()) {
    for (const char c : text) ids.push_back(model_.byte_ids[static_cast<std::uint8_t>(c)]);
    return;
  }
  // A piece met before is copied from where its ids already stand.
  struct Earlier {
    std::size_t begin, count;
  };
  std::unordered_map<std::string_view, Earlier> cache;
  PieceMerger merger(merges_, model_.byte_ids);
  pre_tokenizer_.split(text, [&](std::string_view piece) {
    stop_if_interrupted();
    const std::size_t begin = ids.size();
    if (const auto found = cache.find(piece); found != cache.end()) {
      for (std::size_t i = 0; i < found->second.count; ++i)
        ids.push_back(ids[found->second.begin + i]);
      return;
    }
    if (const auto found = whole_.find(piece); found != whole_.end())
      ids.push_back(found->second);
    else
      merger.append(piece, ids);
    if (piece.size() <= kCachedBytes && cache.size() < kCachedPieces)
      cache.emplace(piece, Earlier{begin, ids.size() - begin});
  });
}

}  // namespace

BpeModel byte_model() {
  BpeModel model;
  for (int byte = 0; byte < 256; ++byte) {
    model.byte_ids[static_cast<std::size_t>(byte)] = byte;
    model.tokens.push_back({std::string(1, static_cast<char>(byte)), false, false});
  }
  model.end_of_text = static_cast<TokenId>(model.tokens.size());
  model.tokens.push_back({kEndOfText, true, true});
  model.patterns = {kGpt2Pattern};
  return model;
}

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeModel model) {
  return std::make_unique<BpeTokenizer>(std::move(model));
}

}  // namespace mote::text
