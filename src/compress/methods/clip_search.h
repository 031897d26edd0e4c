// Levels of a row by the error they cause: instead of the row's extremes, the shrunken ones whose
// rounding has the least sum_i m_i (w_i - q_i)^2, m_i the second moment of input i.
//
// Candidates are the extremes times 1, 0.95, ..., 0.3, both ends shrunk alike; of equal errors the
// wider wins. Departs from QMoE, which always takes the extremes.
#pragma once

#include "compress/methods/method.h"

namespace mote::compress {

Tensor search_levels(const Tensor& w_EOI, const Statistics& statistics,
                     const MethodOptions& options, const model::Pass& pass);

}  // namespace mote::compress
