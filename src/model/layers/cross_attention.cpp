#include "model/layers/cross_attention.h"

#include "base/check.h"
#include "model/ops/attention.h"

namespace mote::model {

CrossAttention::CrossAttention(const checkpoint::AttentionConfig& config, const LayerPlace& place)
    : place_(place),
      heads_(checkpoint::heads_of(config)),
      width_(checkpoint::head_dim_of(config)),
      scale_(torch::ones({1})) {}

Tensor CrossAttention::attend(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI,
                              const Tensor& lengths_B, const Pass& pass) const {
  ops::AttentionTerms terms;
  terms.lengths_B = lengths_B;
  kernels::AttentionSight sight;
  sight.ahead = true;
  return ops::attention(q_BTI, k_BSI, v_BSI, {heads_, heads_, k_BSI.size(1)}, terms, scale_, sight,
                        pass);
}

Tensor CrossAttention::forward(const Tensor& h_BTD, const ForwardState& state) const {
  const Pass& pass = state.pass;
  if (state.source_BSD.defined()) {
    const Tensor k_BSI = k_.forward(state.source_BSD, pass),
                 v_BSI = v_.forward(state.source_BSD, pass), q_BTI = q_.forward(h_BTD, pass);
    return out_.forward(attend(q_BTI, k_BSI, v_BSI, state.source_lengths_B, pass), pass);
  }
  const Tensor q_BTI = q_.forward(h_BTD, pass);
  const auto attended = [&](Cache& cache, std::int64_t first, std::int64_t count) {
    auto [k_BSI, v_BSI] = cache.source(place_.index);
    MOTE_CHECK(k_BSI.defined(), "a decoder that reads a source was given none");
    Tensor lengths_B = cache.source_lengths_B;
    if (k_BSI.size(0) != count) {  // one source for all
      k_BSI = k_BSI.expand({count, -1, -1}), v_BSI = v_BSI.expand({count, -1, -1});
      if (lengths_B.defined()) lengths_B = lengths_B.expand({count});
    }
    return attend(of_sequences(q_BTI, first, count), k_BSI, v_BSI, lengths_B, pass);
  };
  return out_.forward(for_each_cache(state, h_BTD.size(0), attended), pass);
}

void CrossAttention::remember(const Tensor& source_BSD, Cache& cache, const Pass& pass) const {
  Pass kept = pass;  // it outlives the pass and its buffers
  kept.buffers = nullptr;
  cache.source(place_.index) = {k_.forward(source_BSD, kept), v_.forward(source_BSD, kept)};
}

void CrossAttention::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t d = place_.dim, inner = heads_ * width_;
  const auto visit_one = [&](Linear& linear, const char* part, std::int64_t out, std::int64_t in) {
    linear.visit(matrix(concat(name, part, ".weight"), {out, in},
                        {Init::Kind::exact_normal, place_.initial_std(in)}),
                 visitor);
  };
  visit_one(q_, ".q", inner, d);
  visit_one(k_, ".k", inner, d);
  visit_one(v_, ".v", inner, d);
  visit_one(out_, ".out", d, inner);
}

}  // namespace mote::model
