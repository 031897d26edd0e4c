// Which experts tokens get, by their scores; nothing here has a gradient.
//
//   topk            the K largest scores of each token
//   sinkhorn        the K largest of each token after Sinkhorn's balancing (specs/sparse-ffn 2.5)
//   base            the balanced assignment with the largest sum of scores, one expert a token
//   expert_choice   every expert takes the tokens * K / E (at least 1) tokens that score it highest
//   hash            the experts of the token's id
//   grouped         the K best of the best groups of experts (checkpoint::GroupedTop)
// Rows of a token: by falling score (sinkhorn: by falling balanced score), of expert_choice by rising
// expert, of hash in the table's order. Equal scores go to the lower expert, or the lower token.
#pragma once

#include <vector>

#include "checkpoint/router_config.h"
#include "model/ops/routes.h"

namespace mote::model {

struct Selection {
  Tensor first_N1, expert_R;   // as in ops::Assignment
  std::int64_t per_token = 0;  // rows of each token; 0: not the same for all

  std::int64_t tokens() const { return first_N1.size(0) - 1; }
  // Of each row token * experts + expert, int64.
  Tensor token_expert_R(std::int64_t experts) const;
};

Selection select_topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass);
Selection select_grouped(const Tensor& scores_NE, const checkpoint::GroupedTop& groups,
                         std::int64_t k, const Pass& pass);
Selection select_base(const Tensor& scores_NE, const Pass& pass);
// `group`: rows of consecutive tokens that every expert chooses among.
Selection select_by_experts(const Tensor& scores_NE, std::int64_t k, std::int64_t group,
                            const Pass& pass);
// Of token ids [N], int64.
Selection select_by_hash(const Tensor& ids_N, const checkpoint::HashScore& hash, std::int64_t k,
                         std::int64_t experts, std::int64_t layer, const Pass& pass);

// Logarithm of scores [..., T, E] after Sinkhorn's balancing over the last two axes, in double. The
// correct form: with a_e = 0 at first, b_t = -lse_e(x + a), a_e = -lse_t(x + b) + ln(T / E), x + a +
// b: rows sum to nearly 1, columns to T / E. The published program: b_t = ln T - lse_e(x - a), a_e =
// ln E - lse_t(x - b).
Tensor sinkhorn(const Tensor& scores_TE, std::int64_t iterations, checkpoint::SinkhornForm form);

// The rows of a selection that its experts have room for: within each group of consecutive tokens an
// expert takes at most `most` of them, all first choices in the order of tokens, then the second, ...
// int64, rising. Wants equally many rows for each token.
std::vector<std::int64_t> rows_within(const Selection& selected, std::int64_t experts,
                                      std::int64_t most, std::int64_t group);

}  // namespace mote::model
