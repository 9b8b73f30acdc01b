// The avx2 tier: every kernel, compiled with this file's flags.
#define AR_TIER avx2
#define AR_AVX2 1
#include "cpu/tier.h"

namespace autorep {
const Kernels* avx2_kernels() { return &avx2::table; }
}  // namespace autorep
