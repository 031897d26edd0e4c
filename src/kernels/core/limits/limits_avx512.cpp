#include "kernels/core/limits/limits_vector.h"

namespace mote::kernels {

void peak_flops_avx512(const PeakFlops& args, const Run&) {
  peak_flops_vector<Avx512>(args);
}
void read_sum_avx512(const ReadSum& args, const Run&) {
  read_sum_vector<Avx512>(args);
}
void read_rows_avx512(const ReadRows& args, const Run&) {
  read_rows_vector<Avx512>(args);
}

}  // namespace mote::kernels
