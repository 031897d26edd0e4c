#include "kernels/core/limits/limits_vector.h"

namespace mote::kernels {

void peak_flops_avx2(const PeakFlops& args, const Run&) {
  peak_flops_vector<Avx2>(args);
}
void read_sum_avx2(const ReadSum& args, const Run&) {
  read_sum_vector<Avx2>(args);
}
void read_rows_avx2(const ReadRows& args, const Run&) {
  read_rows_vector<Avx2>(args);
}

}  // namespace mote::kernels
