#include "model/routing/selection.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"

namespace mote::model {

Tensor Selection::token_expert_R(std::int64_t experts) const {
  const Tensor token_R = torch::repeat_interleave(torch::arange(tokens(), torch::kInt64),
                                                  first_N1.diff().to(torch::kInt64), 0);
  return token_R * experts + expert_R;
}

Selection select_topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass) {
  return {ops::equal_rows(scores_NE.size(0), k, pass), ops::topk(scores_NE, k, pass), k};
}

Selection select_grouped(const Tensor& scores_NE, const checkpoint::GroupedTop& groups,
                         std::int64_t k, const Pass& pass) {
  const std::int64_t tokens = scores_NE.size(0), experts = scores_NE.size(1),
                     kept = groups.groups_per_token;
  const Tensor z_NE = scores_NE.detach(), z_NGM = z_NE.view({tokens, groups.groups, -1});
  const Tensor group_NG = groups.score == checkpoint::GroupScore::best
                              ? z_NGM.amax(-1)
                              : std::get<0>(z_NGM.topk(2, -1)).sum(-1);
  const Tensor best_NK =
      ops::topk(group_NG.contiguous(), kept, pass).view({tokens, kept}).to(torch::kInt64);
  const Tensor lost_NG =
      torch::ones({tokens, groups.groups}, torch::kBool).scatter(1, best_NK, false);
  const Tensor left_NE =
      z_NGM.masked_fill(lost_NG.unsqueeze(-1), -std::numeric_limits<double>::infinity())
          .view({tokens, experts});
  return select_topk(left_NE, k, pass);
}

Selection select_base(const Tensor& scores_NE, const Pass& pass) {
  return {ops::equal_rows(scores_NE.size(0), 1, pass), ops::balanced_assignment(scores_NE, pass),
          1};
}

Selection select_by_experts(const Tensor& scores_NE, std::int64_t k, std::int64_t group,
                            const Pass& pass) {
  const std::int64_t tokens = scores_NE.size(0), experts = scores_NE.size(1);
  std::vector<std::vector<std::int32_t>> chosen(static_cast<std::size_t>(tokens));
  for (std::int64_t begin = 0; begin < tokens; begin += group) {
    const std::int64_t count = std::min(group, tokens - begin);
    const auto share = static_cast<double>(count * k) / static_cast<double>(experts);
    const std::int64_t each = std::clamp<std::int64_t>(std::llround(std::floor(share)), 1, count);
    const Tensor token_EC =
        ops::topk(scores_NE.narrow(0, begin, count).t().contiguous(), each, pass);
    const auto* token = token_EC.const_data_ptr<std::int32_t>();
    for (std::int64_t e = 0; e < experts; ++e)
      for (std::int64_t i = 0; i < each; ++i)
        chosen[static_cast<std::size_t>(begin + token[e * each + i])].push_back(
            static_cast<std::int32_t>(e));
  }
  std::vector<std::int32_t> first = {0}, expert;
  for (const auto& of_token : chosen) {
    expert.insert(expert.end(), of_token.begin(), of_token.end());
    first.push_back(static_cast<std::int32_t>(expert.size()));
  }
  return {torch::tensor(first, torch::kInt32), torch::tensor(expert, torch::kInt32), 0};
}

namespace {

// The j-th expert of an id is drawn from those that its first j are not.
std::int32_t drawn_expert(const Rng& rng, std::int64_t id, std::int64_t j, std::int64_t k,
                          std::int64_t experts, const std::int32_t* before) {
  const auto index = static_cast<std::uint64_t>(id * k + j);
  auto expert =
      static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(experts - j), index));
  std::vector<std::int32_t> taken(before, before + j);
  std::sort(taken.begin(), taken.end());
  for (const std::int32_t t : taken) expert += expert >= t ? 1 : 0;
  return expert;
}

}  // namespace

Selection select_by_hash(const Tensor& ids_N, const checkpoint::HashScore& hash, std::int64_t k,
                         std::int64_t experts, std::int64_t layer, const Pass& pass) {
  const std::int64_t tokens = ids_N.size(0);
  const Rng rng(static_cast<std::uint64_t>(hash.seed), Purpose::hash_router, 0,
                static_cast<std::uint32_t>(layer));
  Tensor expert_R = torch::empty({tokens * k}, torch::kInt32);
  auto* expert = expert_R.mutable_data_ptr<std::int32_t>();
  const Tensor ids = ids_N.contiguous();
  const auto* id = ids.const_data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < tokens; ++n)
    for (std::int64_t j = 0; j < k; ++j)
      expert[n * k + j] =
          hash.table.empty()
              ? drawn_expert(rng, id[n], j, k, experts, expert + n * k)
              : static_cast<std::int32_t>(hash.table[static_cast<std::size_t>(id[n] * k + j)]);
  return {ops::equal_rows(tokens, k, pass), expert_R, k};
}

Tensor sinkhorn(const Tensor& scores_TE, std::int64_t iterations, checkpoint::SinkhornForm form) {
  const Tensor x_TE = scores_TE.detach().to(torch::kFloat64);
  const auto rows = static_cast<double>(x_TE.size(-2)),
             columns = static_cast<double>(x_TE.size(-1));
  Tensor a_E = torch::zeros({1, x_TE.size(-1)}, torch::kFloat64), b_T;
  const auto over_experts = [](const Tensor& x) { return torch::logsumexp(x, {-1}, true); };
  const auto over_tokens = [](const Tensor& x) { return torch::logsumexp(x, {-2}, true); };
  for (std::int64_t i = 0; i < iterations; ++i) {
    if (form == checkpoint::SinkhornForm::correct) {
      b_T = -over_experts(x_TE + a_E);
      a_E = std::log(rows / columns) - over_tokens(x_TE + b_T);
    } else {
      b_T = std::log(rows) - over_experts(x_TE - a_E);
      a_E = std::log(columns) - over_tokens(x_TE - b_T);
    }
  }
  return x_TE + a_E + b_T;
}

std::vector<std::int64_t> rows_within(const Selection& selected, std::int64_t experts,
                                      std::int64_t most, std::int64_t group) {
  const std::int64_t tokens = selected.tokens(), k = selected.per_token;
  const auto* expert = selected.expert_R.const_data_ptr<std::int32_t>();
  std::vector<char> in(static_cast<std::size_t>(tokens * k));
  for (std::int64_t begin = 0; begin < tokens; begin += group) {
    std::vector<std::int64_t> taken(static_cast<std::size_t>(experts));
    for (std::int64_t choice = 0; choice < k; ++choice)
      for (std::int64_t n = begin; n < std::min(begin + group, tokens); ++n) {
        const std::int64_t r = n * k + choice;
        std::int64_t& count = taken[static_cast<std::size_t>(expert[r])];
        if (count < most) ++count, in[static_cast<std::size_t>(r)] = 1;
      }
  }
  std::vector<std::int64_t> rows;
  for (std::size_t r = 0; r < in.size(); ++r)
    if (in[r]) rows.push_back(static_cast<std::int64_t>(r));
  return rows;
}

}  // namespace mote::model
