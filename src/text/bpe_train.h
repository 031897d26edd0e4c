// Learning byte pairs: which pieces a text has, and which merges they ask for.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer_model.h"

namespace mote::text {

struct CountedPiece {
  std::string_view bytes;
  std::uint64_t count;
  bool operator==(const CountedPiece&) const = default;
};

// The different pieces into which GPT-2's pattern cuts the documents, in the order of their bytes.
// The views are into the documents.
std::vector<CountedPiece> count_pieces(const std::vector<std::string_view>& documents, int threads);

// At most `most` merges; the i-th makes token `first_result` + i. Each takes the pair of neighbours
// that occurs most often in the pieces (overlapping occurrences count, so "aaa" has "aa" twice),
// of equals the one with the smallest (left, right), and is done from left to right. Stops when no
// pair occurs twice.
//
// No two merges make the same bytes: where a stretch of text is one token, no merge went across its
// ends, so its bytes alone decided how it was put together.
std::vector<Merge> learn_merges(const std::vector<CountedPiece>& pieces, TokenId first_result,
                                int most);

}  // namespace mote::text
