// 64 x 64 bit transpose: bit i of word j becomes bit j of word i.
#pragma once
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

// In place, of each component of a[0..63] on its own.
template <class W>
static inline void transpose64(W* a) {
  static const uint64_t masks[6] = {0x00000000ffffffffu, 0x0000ffff0000ffffu, 0x00ff00ff00ff00ffu,
                                    0x0f0f0f0f0f0f0f0fu, 0x3333333333333333u, 0x5555555555555555u};
  for (int step = 32, level = 0; step; step >>= 1, ++level) {
    const W m = W{} + masks[level];
    for (int i = 0; i < 64; i += 2 * step)
      for (int j = i; j < i + step; ++j) {
        const W t = ((a[j] >> step) ^ a[j + step]) & m;
        a[j + step] ^= t;
        a[j] ^= t << step;
      }
  }
}

}  // namespace AR_TIER
}  // namespace autorep
