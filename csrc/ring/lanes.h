// Vectors of a ring's elements, weights of a narrower type widened into them, and where sums of products go.
#pragma once
#include "cpu/vector.h"

#if defined(AR_AVX512) || defined(AR_AVX2)
#include <immintrin.h>
#endif

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512)

template <class T>
struct Lanes {
  enum { count = 64 / sizeof(T), most = 4 };
  typedef T V __attribute__((vector_size(64)));
  AR_INLINE V widen(const int64_t* w) { return load<V>(w); }
  AR_INLINE V widen(const int32_t* w) {
    if (sizeof(T) == 4) return load<V>(w);
    return (V)_mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i*)w));
  }
  AR_INLINE V widen(const int16_t* w) {
    if (sizeof(T) == 4) return (V)_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i*)w));
    return (V)_mm512_cvtepi16_epi64(_mm_loadu_si128((const __m128i*)w));
  }
};

#elif defined(AR_AVX2)

template <class T>
struct Lanes {
  enum { count = 32 / sizeof(T), most = sizeof(T) == 8 ? 1 : 2 };
  typedef T V __attribute__((vector_size(32)));
  AR_INLINE V widen(const int64_t* w) { return load<V>(w); }
  AR_INLINE V widen(const int32_t* w) {
    if (sizeof(T) == 4) return load<V>(w);
    return (V)_mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i*)w));
  }
  AR_INLINE V widen(const int16_t* w) {
    if (sizeof(T) == 4) return (V)_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i*)w));
    return (V)_mm256_cvtepi16_epi64(_mm_loadl_epi64((const __m128i*)w));
  }
};

#else

// Baseline vectors have no product of this width: one multiplier at a time is faster than its emulation.
template <class T>
struct Lanes {
  enum { count = 1, most = 2 };
  typedef T V;
  template <class W>
  AR_INLINE V widen(const W* w) {
    return V(*w);
  }
};

#endif

// Where the sums of a tile are kept: pixels `step` elements apart. `fresh`: nothing has been summed there yet.
template <class T>
struct Sums {
  T* at;
  int64_t step;
  bool fresh;

  template <class V>
  AR_INLINE_MEMBER V get(int64_t pixel) const {
    return fresh ? V{} : load<V>(at + pixel * step);
  }
  template <class V>
  AR_INLINE_MEMBER void put(int64_t pixel, V v) const {
    store(at + pixel * step, v);
  }
  AR_INLINE_MEMBER Sums shifted(int64_t elements) const { return {at + elements, step, fresh}; }
};

}  // namespace AR_TIER
}  // namespace autorep
