// How many threads a kernel may use.
#pragma once
#include <cstdint>

namespace autorep {

int num_threads();
void set_num_threads(int n);  // n >= 1

// Threads worth starting for `work` units when one thread should get at least `grain` of them.
int threads_for(int64_t work, int64_t grain);

}  // namespace autorep
