// A config's activation as ops::gated takes it.
#pragma once

#include "checkpoint/model_config.h"
#include "model/ops/gated.h"

namespace mote::model {

inline kernels::Unit unit_of(checkpoint::NeuronActivation activation) {
  switch (activation) {
    case checkpoint::NeuronActivation::gelu:
      return {kernels::UnitKind::gelu};
    case checkpoint::NeuronActivation::gelu_tanh:
      return {kernels::UnitKind::gelu_tanh};
    case checkpoint::NeuronActivation::relu:
      return {kernels::UnitKind::relu};
    case checkpoint::NeuronActivation::silu:
      return {kernels::UnitKind::silu};
    case checkpoint::NeuronActivation::identity:
      break;
  }
  return {kernels::UnitKind::identity};
}

}  // namespace mote::model
