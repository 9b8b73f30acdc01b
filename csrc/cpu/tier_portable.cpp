// The portable tier: every kernel, compiled with this file's flags.
#define AR_TIER portable
#include "cpu/tier.h"

namespace autorep {
const Kernels* portable_kernels() { return &portable::table; }
}  // namespace autorep
