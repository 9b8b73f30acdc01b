// The avx512 tier: every kernel, compiled with this file's flags.
#define AR_TIER avx512
#define AR_AVX512 1
#include "cpu/tier.h"

namespace autorep {
const Kernels* avx512_kernels() { return &avx512::table; }
}  // namespace autorep
