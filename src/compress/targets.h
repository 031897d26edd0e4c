// Which weights of a model are compressed, and how one takes the place of another.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"

namespace mote::compress {

struct Target {
  std::string name;
  model::WeightPtr weight;
};

// What `--layers` says:
//   experts   the stacks of expert matrices
//   all       every matrix of the blocks but routers and gates of shared experts, which are small and
//             decide
//   PATTERN   matrices whose name matches, routers and "head.weight" included; * stands for any
//             characters, ? for one
class Choice {
 public:
  explicit Choice(std::string layers) : layers_(std::move(layers)) {}
  bool takes(const model::Parameter& matrix) const;
  const std::string& layers() const { return layers_; }

 private:
  const std::string layers_;
};

// Throws when the choice takes nothing of the model, or what is looked up instead of multiplied.
void check_choice(model::Model& model, const Choice& choice);

// Collects what a choice takes, in the order of the path.
class TargetCollector final : public model::ParameterVisitor {
 public:
  explicit TargetCollector(const Choice& choice) : choice_(choice) {}
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    if (choice_.takes(p)) found.push_back({p.name, weight});
  }
  void tensor(const model::Parameter&, Tensor&) override {}
  std::vector<Target> found;

 private:
  const Choice& choice_;
};

// Puts weights in the places of their names.
class TargetSetter final : public model::ParameterVisitor {
 public:
  explicit TargetSetter(const std::vector<Target>& targets) : targets_(targets) {}
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    for (const Target& t : targets_)
      if (t.name == p.name) weight = t.weight;
  }
  void tensor(const model::Parameter&, Tensor&) override {}

 private:
  const std::vector<Target>& targets_;
};

}  // namespace mote::compress
