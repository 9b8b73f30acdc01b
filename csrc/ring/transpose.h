// 4x4 ring elements, in registers: channels that were computed side by side become pixels that lie side by side.
#pragma once
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

template <class T>
struct Four {
  typedef T V __attribute__((vector_size(4 * sizeof(T))));
};

#ifdef __clang__
#define AR_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define AR_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, V{i, j, k, l})
#endif

// a[i][j] becomes a[j][i].
template <class V>
AR_INLINE void transpose4(V* a) {
  const V even01 = AR_SHUFFLE(a[0], a[1], 0, 4, 2, 6), odd01 = AR_SHUFFLE(a[0], a[1], 1, 5, 3, 7);
  const V even23 = AR_SHUFFLE(a[2], a[3], 0, 4, 2, 6), odd23 = AR_SHUFFLE(a[2], a[3], 1, 5, 3, 7);
  a[0] = AR_SHUFFLE(even01, even23, 0, 1, 4, 5), a[1] = AR_SHUFFLE(odd01, odd23, 0, 1, 4, 5);
  a[2] = AR_SHUFFLE(even01, even23, 2, 3, 6, 7), a[3] = AR_SHUFFLE(odd01, odd23, 2, 3, 6, 7);
}

}  // namespace AR_TIER
}  // namespace autorep
