// Products of polynomials over GF(2), for sums of words times public coefficients: by instruction, or, without one, by
// the coefficients' bits.
#pragma once
#include "cpu/vector.h"

#if defined(AR_AVX512) || defined(AR_AVX2)
#include <immintrin.h>
#endif

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512)
typedef V512 Product;
// The product of both even words in each 128 bits, plus that of both odd words.
AR_INLINE Product multiply_pairs(Product x, Product y) {
  return (Product)_mm512_clmulepi64_epi128((__m512i)x, (__m512i)y, 0x00) ^
         (Product)_mm512_clmulepi64_epi128((__m512i)x, (__m512i)y, 0x11);
}
#elif defined(AR_AVX2)
typedef V128 Product;
AR_INLINE Product multiply_pairs(Product x, Product y) {
  return (Product)_mm_clmulepi64_si128((__m128i)x, (__m128i)y, 0x00) ^
         (Product)_mm_clmulepi64_si128((__m128i)x, (__m128i)y, 0x11);
}
#else
typedef V128 Product;
AR_INLINE Product multiply_pairs(Product x, Product y) {
  uint64_t low = 0, high = 0;
  for (int j = 0; j < 2; ++j) {
    const uint64_t a = x[j];
    for (int i = 0; i < 64; ++i) {
      const uint64_t taken = a & (0 - (y[j] >> i & 1));
      low ^= taken << i;
      high ^= taken >> 1 >> (63 - i);
    }
  }
  return Product{low, high};
}
#endif
enum { kProductWords = sizeof(Product) / 8 };

}  // namespace AR_TIER
}  // namespace autorep
