#include "model/layers/cross_attention.h"

#include "base/check.h"
#include "model/ops/attention.h"

namespace mote::model {

CrossAttention::CrossAttention(const checkpoint::AttentionConfig& config, const LayerPlace& place)
    : place_(place),
      heads_(checkpoint::heads_of(config)),
      width_(checkpoint::head_dim_of(config)),
      scale_(torch::ones({1})) {}

Tensor CrossAttention::forward(const Tensor& h_BTD, const ForwardState& state) const {
  const Pass& pass = state.pass;
  Tensor k_BSI, v_BSI;
  ops::AttentionTerms terms;
  if (state.source_BSD.defined()) {
    k_BSI = k_.forward(state.source_BSD, pass), v_BSI = v_.forward(state.source_BSD, pass);
    terms.lengths_B = state.source_lengths_B;
  } else {
    MOTE_CHECK(state.cache && state.cache->source(place_.index).k_BSI.defined(),
               "a decoder that reads a source was given none");
    const Cache::Source& source = state.cache->source(place_.index);
    k_BSI = source.k_BSI, v_BSI = source.v_BSI;
    terms.lengths_B = state.cache->source_lengths_B;
    const std::int64_t batch = h_BTD.size(0);
    if (k_BSI.size(0) != batch) {  // one source for all
      k_BSI = k_BSI.expand({batch, -1, -1}), v_BSI = v_BSI.expand({batch, -1, -1});
      if (terms.lengths_B.defined()) terms.lengths_B = terms.lengths_B.expand({batch});
    }
  }
  kernels::AttentionSight sight;
  sight.ahead = true;
  const Tensor o_BTI = ops::attention(q_.forward(h_BTD, pass), k_BSI, v_BSI,
                                      {heads_, heads_, k_BSI.size(1)}, terms, scale_, sight, pass);
  return out_.forward(o_BTI, pass);
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
