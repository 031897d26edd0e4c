#include "compress/targets.h"

#include <fnmatch.h>

#include "base/check.h"

namespace mote::compress {

bool Choice::takes(const model::Parameter& matrix) const {
  if (layers_ == "experts") return matrix.shape.size() == 3;
  if (layers_ == "all")
    return matrix.name.starts_with("blocks.") &&
           matrix.name.find(".router.") == std::string::npos &&
           !matrix.name.ends_with(".shared_gate.weight");
  return fnmatch(layers_.c_str(), matrix.name.c_str(), 0) == 0;
}

void check_choice(model::Model& model, const Choice& choice) {
  TargetCollector collector(choice);
  model.visit(collector);
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::unsupported, concat("--layers ", choice.layers(), ": ", what))
        .at("--layers");
  };
  if (collector.found.empty())
    refuse(choice.layers() == "experts"
               ? "the model has no experts; --layers all compresses its other matrices"
               : "matches no matrix of the model; mote inspect MODEL --tensors lists them");
  for (const Target& t : collector.found)
    if (t.name == "embedding.weight" || (t.name == "head.weight" && model.config().tied))
      refuse("takes embedding.weight, which is looked up and not multiplied; leave it out");
}

}  // namespace mote::compress
