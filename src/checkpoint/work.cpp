#include "checkpoint/work.h"

#include <cmath>

namespace mote::checkpoint {
namespace {

// A layer's multiply-adds per token, forward and backward.
struct Cost {
  double forward = 0, backward = 0;
  Cost& operator+=(const Cost& other) {
    forward += other.forward, backward += other.backward;
    return *this;
  }
};

double number(std::int64_t value) {
  return static_cast<double>(value);
}

// A product with weights: backward makes the gradients of both factors.
Cost product(double multiply_adds) {
  return {multiply_adds, 2 * multiply_adds};
}

Cost feed_forward(const Dense& c, double dim) {
  return product((c.gated ? 3 : 2) * dim * number(c.width));
}
Cost feed_forward(const TopK& c, double dim) {
  return product(2 * dim * number(c.width));
}
// What experts are scored by; `key_dim`: the width of their first matrices' rows.
Cost scores(const RouterConfig& c, std::int64_t experts, double dim, double key_dim) {
  const double linear = dim * number(experts);
  Cost cost = c.noise.get_if<LearnedNoise>() ? product(linear) : Cost{};
  if (c.score.get_if<LinearScore>()) cost += product(linear);
  if (const auto* recurrent = c.score.get_if<RecurrentScore>()) {
    const double state = number(recurrent->state_dim);
    cost += product(dim * state + 6 * state * state + state * number(experts));
  }
  if (c.score.get_if<AvgKScore>()) cost += {key_dim * number(experts), key_dim * number(experts)};
  return cost;
}
Cost feed_forward(const Mixture& c, double dim) {
  const double key_dim = c.key_rank > 0 ? number(c.key_rank) : dim;
  Cost cost = scores(c.router, c.experts, dim, key_dim);
  if (c.key_rank > 0) cost += product(dim * key_dim);
  if (c.shared.width > 0) {
    cost += feed_forward(Dense{c.shared.width, c.activation, c.gated, false}, dim);
    if (c.shared.gated_output) cost += product(dim);
  }
  const double columns = c.gated ? 3 * dim : key_dim + dim;
  return cost += product(number(c.router.experts_per_token) * columns * number(c.expert_width));
}

// The query, and the search among n * n experts.
Cost search(const ProductKeyRouter& c, std::int64_t experts, double dim) {
  const auto* linear = c.query.get_if<LinearQuery>();
  const double heads = number(c.heads), key_dim = linear ? number(linear->key_dim) : dim,
               keys = std::round(std::sqrt(number(experts)));
  Cost cost = linear ? product(dim * heads * key_dim) : Cost{};
  cost += {heads * keys * key_dim, 2 * heads * number(c.experts_per_head) * key_dim};
  return cost;
}
// Rows of tables: `tables` for each expert found.
Cost found(const ProductKeyRouter& c, double tables, double dim) {
  return product(tables * number(c.heads) * number(c.experts_per_head) * dim);
}
Cost feed_forward(const ProductKey& c, double dim) {
  Cost cost = search(c.router, c.values, dim);
  if (c.mode == MemoryMode::dense_head_sum) {
    cost.backward = 2 * cost.forward;  // through all keys
    cost += product(number(c.values) * dim);
  } else {
    cost += found(c.router, 1, dim);
  }
  if (c.gated_output) cost += product(2 * dim * dim);
  return cost;
}
Cost feed_forward(const Peer& c, double dim) {
  Cost cost = search(c.router, c.experts, dim);
  return cost += found(c.router, c.gated ? 3 : 2, dim);
}

// `source` positions are read by `context`.
Cost cross_attention(const AttentionConfig& config, double dim, double source, double context) {
  const double inner = number(heads_of(config)) * number(head_dim_of(config));
  Cost cost = product(2 * dim * inner);
  cost += product(2 * dim * inner * source / context);
  return cost += {source * 2 * inner, source * 5 * inner};
}

// `sees_all`: every position sees all others.
Cost attention(const AttentionConfig& config, double dim, double context, double streams,
               bool sees_all) {
  const auto* xl = config.get_if<TransformerXl>();
  const auto* rotary = config.get_if<Rotary>();
  const auto* latent = config.get_if<Latent>();
  const double inner = number(heads_of(config)) * number(head_dim_of(config)),
               value_inner = number(heads_of(config)) * number(value_dim_of(config)),
               key_inner = number(key_heads_of(config)) * number(head_dim_of(config));
  const double memory = xl ? number(xl->memory_blocks) * context : 0;
  const double keys = memory + context;
  double seen = sees_all ? context : memory + (context + 1) / 2;  // in the mean over a block
  if (rotary && rotary->window > 0 && number(rotary->window) < context) {
    const double window = number(rotary->window);
    seen = window - window * (window - 1) / (2 * context);
  }
  const double score = xl ? 2 : 1;  // with the key, and with the distance
  Cost cost;
  if (latent) {
    const double q_rank = number(latent->q_rank), kv_rank = number(latent->kv_rank),
                 rope = number(latent->rope_dim), heads = number(latent->heads);
    cost += product(q_rank > 0 ? q_rank * (dim + inner) : dim * inner);
    cost += product(dim * (kv_rank + rope) + kv_rank * (inner - heads * rope + value_inner));
    cost += product(dim * value_inner);
  } else {
    cost += product(2 * dim * inner);  // queries and outputs
    cost += product(2 * dim * key_inner * keys / context);
  }
  // The table of distances is one for all streams, and no gradient goes into it.
  if (xl) {
    const double distances = dim * inner * keys / (context * streams);
    cost += {distances, distances};
  }
  cost += {seen * (score * inner + value_inner), seen * (3 * score * inner + 2 * value_inner)};
  return cost;
}

void add(const Cost& cost, double MultiplyAdds::*part, Work& work) {
  work.forward.*part += cost.forward;
  work.training.*part += cost.forward + cost.backward;
}

}  // namespace

namespace {

// Per token of the stack, times `share`.
void add_stack(const ModelConfig& config, std::int64_t streams, bool sees_all, double share,
               Work& work) {
  const double dim = number(config.dim);
  const auto shared = [share](const Cost& cost) {
    return Cost{cost.forward * share, cost.backward * share};
  };
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const LayerConfig layer = layer_config(config, i);
    add(shared(attention(layer.attention, dim, number(config.context), number(streams), sees_all)),
        &MultiplyAdds::attention, work);
    if (reads_source(config))
      add(shared(cross_attention(layer.attention, dim, number(config.encoder.context),
                                 number(config.context))),
          &MultiplyAdds::attention, work);
    add(shared(layer.feed_forward.visit([&](const auto& kind) { return feed_forward(kind, dim); })),
        &MultiplyAdds::feed_forward, work);
  }
}

}  // namespace

Work work_of(const ModelConfig& config, std::int64_t streams) {
  const double dim = number(config.dim);
  Work work;
  add_stack(config, streams, false, 1, work);
  if (reads_source(config))
    add_stack(encoder_of(config), streams, true,
              number(config.encoder.context) / number(config.context), work);
  add(product(dim * number(config.vocab_size)), &MultiplyAdds::head, work);
  return work;
}

}  // namespace mote::checkpoint
