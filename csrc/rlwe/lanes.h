// Vectors of 32-bit numbers modulo a prime below 2^27, and sums of their products in 64 bits.
//
// A number is often left unreduced, below a few p: 32 p fit 32 bits.
#pragma once
#include "cpu/vector.h"
#include "rlwe/tables.h"

#if defined(AR_AVX512) || defined(AR_AVX2)
#include <immintrin.h>
#endif

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512)

enum : int64_t { kRlweLanes = 16 };
typedef uint32_t U32 __attribute__((vector_size(64)));
AR_INLINE U32 low_product(U32 a, U32 b) { return (U32)_mm512_mullo_epi32((__m512i)a, (__m512i)b); }
AR_INLINE U32 smaller(U32 a, U32 b) { return (U32)_mm512_min_epu32((__m512i)a, (__m512i)b); }
AR_INLINE V512 odd_numbers(U32 a) { return (V512)a >> 32; }
AR_INLINE V512 even_product(V512 a, V512 b) { return (V512)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
AR_INLINE U32 evens_and_odds(V512 even, V512 odd) {
  return (U32)_mm512_mask_blend_epi32(0xaaaa, (__m512i)even, (__m512i)odd);
}
typedef V512 U64;

#elif defined(AR_AVX2)

enum : int64_t { kRlweLanes = 8 };
typedef uint32_t U32 __attribute__((vector_size(32)));
AR_INLINE U32 low_product(U32 a, U32 b) { return (U32)_mm256_mullo_epi32((__m256i)a, (__m256i)b); }
AR_INLINE U32 smaller(U32 a, U32 b) { return (U32)_mm256_min_epu32((__m256i)a, (__m256i)b); }
AR_INLINE V256 odd_numbers(U32 a) { return (V256)a >> 32; }
AR_INLINE V256 even_product(V256 a, V256 b) { return (V256)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
AR_INLINE U32 evens_and_odds(V256 even, V256 odd) { return (U32)_mm256_blend_epi32((__m256i)even, (__m256i)odd, 0xaa); }
typedef V256 U64;

#else

enum : int64_t { kRlweLanes = 1 };
typedef uint32_t U32;
AR_INLINE U32 low_product(U32 a, U32 b) { return a * b; }
AR_INLINE U32 smaller(U32 a, U32 b) { return a < b ? a : b; }

#endif

AR_INLINE U32 splat(uint32_t a) { return U32{} + a; }

#if defined(AR_AVX512) || defined(AR_AVX2)

// Numbers whose products are taken several times: those at even and at odd places, each at the low half of a word.
struct Split {
  U64 even, odd;
};
AR_INLINE Split split(U32 a) { return {(U64)a, odd_numbers(a)}; }
AR_INLINE Split split_same(uint32_t a) { return {(U64)splat(a), (U64)splat(a)}; }
struct Wide {
  U64 even, odd;
};
AR_INLINE Wide wide_product(Split a, Split b) { return {even_product(a.even, b.even), even_product(a.odd, b.odd)}; }
AR_INLINE void add(Wide& sum, Wide a) { sum.even += a.even, sum.odd += a.odd; }
AR_INLINE U32 high_words(Wide a) { return evens_and_odds(a.even >> 32, a.odd); }
AR_INLINE U32 low_words(Wide a) { return evens_and_odds(a.even, a.odd << 32); }

#else

struct Split {
  uint32_t all;
};
AR_INLINE Split split(U32 a) { return {a}; }
AR_INLINE Split split_same(uint32_t a) { return {a}; }
struct Wide {
  uint64_t all;
};
AR_INLINE Wide wide_product(Split a, Split b) { return {uint64_t(a.all) * b.all}; }
AR_INLINE void add(Wide& sum, Wide a) { sum.all += a.all; }
AR_INLINE U32 high_words(Wide a) { return uint32_t(a.all >> 32); }
AR_INLINE U32 low_words(Wide a) { return uint32_t(a.all); }

#endif

AR_INLINE U32 high_product(U32 a, U32 b) { return high_words(wide_product(split(a), split(b))); }

// a w modulo p, below 2 p, for any a. Source: Shoup, NTL; Harvey, "Faster arithmetic for number-theoretic transforms".
AR_INLINE U32 times(U32 a, U32 w, U32 shoup, U32 p) {
  return low_product(a, w) - low_product(high_product(a, shoup), p);
}
AR_INLINE U32 times(U32 a, Factor f, U32 p) { return times(a, splat(f.w), splat(f.shoup), p); }

// a modulo p: for a below 2 p, below 4 p, and any a.
AR_INLINE U32 reduced2(U32 a, U32 p) { return smaller(a, a - p); }
AR_INLINE U32 reduced4(U32 a, U32 p) { return reduced2(smaller(a, a - (p + p)), p); }
AR_INLINE U32 reduced(U32 a, const RlwePrime& r) {
  const U32 p = splat(r.p);
  return reduced2(a - low_product(high_product(a, splat(r.one.shoup)), p), p);
}
AR_INLINE U32 reduced(Wide a, const RlwePrime& r) {
  const U32 p = splat(r.p);
  return reduced4(times(low_words(a), r.one, p) + times(high_words(a), r.two32, p), p);
}

AR_INLINE uint32_t times1(uint32_t a, Factor f, uint32_t p) {
  return a * f.w - uint32_t(uint64_t(a) * f.shoup >> 32) * p;
}
AR_INLINE uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
AR_INLINE uint32_t least4(uint32_t a, uint32_t p) { return least(least(a, a - 2 * p), least(a, a - 2 * p) - p); }

}  // namespace AR_TIER
}  // namespace autorep
