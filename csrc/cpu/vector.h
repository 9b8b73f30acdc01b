// Vectors of ring elements, as GCC and Clang vector types: `a * b` on them is vpmullq, or vpmuludq pieces, as the tier
// has.
#pragma once
#include <stdint.h>
#include <string.h>

namespace autorep {
namespace AR_TIER {

#define AR_INLINE static inline __attribute__((always_inline))
#define AR_INLINE_MEMBER inline __attribute__((always_inline))

typedef uint64_t V128 __attribute__((vector_size(16)));
typedef uint64_t V256 __attribute__((vector_size(32)));
typedef uint64_t V512 __attribute__((vector_size(64)));

template <class V>
AR_INLINE V load(const void* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

template <class V>
AR_INLINE void store(void* p, V v) {
  memcpy(p, &v, sizeof v);
}

AR_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace AR_TIER
}  // namespace autorep
