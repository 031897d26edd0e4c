#include "run/beam_search.h"

#include <algorithm>
#include <cmath>

#include "base/process.h"
#include "model/nonfinite.h"

namespace mote::run {
namespace {

struct Beginning {
  std::vector<text::TokenId> ids;
  double log_p = 0;
};

struct Step {
  std::size_t beginning = 0;
  text::TokenId id = 0;
  double log_p = 0;  // of all together
};

class Search {
 public:
  Search(const BeamOptions& options, const std::function<bool(text::TokenId)>& ends)
      : options_(options), ends_(ends), beams_(static_cast<std::size_t>(options.beams)) {}

  // Goes on from the probabilities after each beginning; gives which beginnings stay.
  std::vector<std::int64_t> go_on(const Tensor& log_p_NV) {
    std::vector<Beginning> kept;
    std::vector<std::int64_t> rows;
    std::size_t rank = 0;
    for (const Step& step : best_steps(log_p_NV)) {
      const Beginning& from = beginnings_[step.beginning];
      if (ends_(step.id)) {
        if (rank < beams_) finish({from.ids, true, score(step.log_p, from.ids.size() + 1)});
      } else if (kept.size() < beams_) {
        kept.push_back({from.ids, step.log_p});
        kept.back().ids.push_back(step.id);
        rows.push_back(static_cast<std::int64_t>(step.beginning));
      }
      ++rank;
    }
    beginnings_ = std::move(kept);
    return rows;
  }

  bool done() const {
    if (beginnings_.empty()) return true;
    if (static_cast<std::int64_t>(beginnings_.front().ids.size()) >= options_.new_tokens)
      return true;
    return finished_.size() == beams_ && finished_.back().score >= best_open_score();
  }

  Beam best() {
    for (const Beginning& open : beginnings_)
      finish({open.ids, false, score(open.log_p, open.ids.size())});
    return finished_.front();
  }

  const std::vector<Beginning>& beginnings() const { return beginnings_; }

 private:
  // Twice the beams, so that as many are left when some end, and of each beginning all that end.
  std::vector<Step> best_steps(const Tensor& log_p_NV) const {
    const std::int64_t vocabulary = log_p_NV.size(1), rows = log_p_NV.size(0);
    const float* log_p = log_p_NV.const_data_ptr<float>();
    const auto sum = [&](std::size_t n, std::int64_t id) {
      return beginnings_[n].log_p +
             static_cast<double>(log_p[static_cast<std::int64_t>(n) * vocabulary + id]);
    };
    std::vector<Step> steps;
    const auto wanted = static_cast<std::size_t>(2 * options_.beams);
    const auto before = [](const Step& a, const Step& b) {
      if (a.log_p != b.log_p) return a.log_p > b.log_p;
      return a.beginning != b.beginning ? a.beginning < b.beginning : a.id < b.id;
    };
    for (std::size_t n = 0; n < static_cast<std::size_t>(rows); ++n) {
      for (std::int64_t id = 0; id < vocabulary; ++id)
        steps.push_back({n, static_cast<text::TokenId>(id), sum(n, id)});
      if (steps.size() <= wanted) continue;
      std::nth_element(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(wanted),
                       steps.end(), before);
      steps.resize(wanted);
    }
    std::sort(steps.begin(), steps.end(), before);
    return steps;
  }

  double score(double log_p, std::size_t tokens) const {
    return log_p / std::pow(static_cast<double>(tokens), options_.length_penalty);
  }
  double best_open_score() const {
    return score(beginnings_.front().log_p, beginnings_.front().ids.size());
  }
  // The best ones, the earlier of equals first.
  void finish(Beam beam) {
    const auto at =
        std::upper_bound(finished_.begin(), finished_.end(), beam,
                         [](const Beam& a, const Beam& b) { return a.score > b.score; });
    finished_.insert(at, std::move(beam));
    if (finished_.size() > beams_) finished_.pop_back();
  }

  const BeamOptions options_;
  const std::function<bool(text::TokenId)>& ends_;
  const std::size_t beams_;
  std::vector<Beginning> beginnings_{Beginning{}};
  std::vector<Beam> finished_;
};

Tensor last_ids(const std::vector<Beginning>& beginnings) {
  std::vector<std::int64_t> ids;
  for (const Beginning& each : beginnings) ids.push_back(each.ids.back());
  return torch::tensor(ids, torch::kInt64).unsqueeze(1);
}

}  // namespace

Beam beam_search(const model::Model& model, const Tensor& hidden_11D, model::Cache& cache,
                 std::int64_t vocabulary, const std::function<bool(text::TokenId)>& ends,
                 const BeamOptions& options, const model::Pass& pass) {
  const torch::NoGradGuard no_grad;
  Search search(options, ends);
  Tensor hidden_N1D = hidden_11D;
  while (!search.done()) {
    stop_if_interrupted();
    Tensor logits_NV = model.logits(hidden_N1D, pass).flatten(0, 1);
    if (!logits_NV.isfinite().all().item<bool>())
      model::throw_nonfinite(model, "the logits of a beam are not finite");
    for (const auto& [id, bias] : options.biases) logits_NV.select(1, id) += bias;
    const Tensor log_p_NV = torch::log_softmax(logits_NV, -1);
    const std::vector<std::int64_t> rows =
        search.go_on(log_p_NV.narrow(1, 0, vocabulary).contiguous());
    if (search.done()) break;
    cache.select(rows);
    model::ForwardState state(pass);
    state.caches = {&cache};
    hidden_N1D = model.hidden(last_ids(search.beginnings()), state);
  }
  return search.best();
}

}  // namespace mote::run
