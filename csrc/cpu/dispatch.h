// Which kernels this process uses: detection by CPUID and XGETBV, listing and forcing of tiers by name.
#pragma once
#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace autorep {

// Names of the tiers that were built and that this machine can run, slowest first.
std::vector<std::string> available_tiers();

// The kernels in use. The first call picks the best available tier, or the one named by the environment variable
// AUTOREP_FX_CPU; throws std::invalid_argument if that one is unknown or unsupported.
const Kernels& kernels();

// Uses another tier from now on. Throws std::invalid_argument if it is unknown or unsupported here.
void set_tier(const std::string& name);

}  // namespace autorep
