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
// The same two products, added apart.
AR_INLINE void multiply_halves(Product x, Product y, Product& even, Product& odd) {
  even ^= (Product)_mm512_clmulepi64_epi128((__m512i)x, (__m512i)y, 0x00);
  odd ^= (Product)_mm512_clmulepi64_epi128((__m512i)x, (__m512i)y, 0x11);
}
#elif defined(AR_AVX2)
typedef V128 Product;
AR_INLINE Product multiply_pairs(Product x, Product y) {
  return (Product)_mm_clmulepi64_si128((__m128i)x, (__m128i)y, 0x00) ^
         (Product)_mm_clmulepi64_si128((__m128i)x, (__m128i)y, 0x11);
}
AR_INLINE void multiply_halves(Product x, Product y, Product& even, Product& odd) {
  even ^= (Product)_mm_clmulepi64_si128((__m128i)x, (__m128i)y, 0x00);
  odd ^= (Product)_mm_clmulepi64_si128((__m128i)x, (__m128i)y, 0x11);
}
#else
typedef V128 Product;
AR_INLINE Product multiply_words(uint64_t a, uint64_t b) {
  uint64_t low = 0, high = 0;
  for (int i = 0; i < 64; ++i) {
    const uint64_t taken = a & (0 - (b >> i & 1));
    low ^= taken << i;
    high ^= taken >> 1 >> (63 - i);
  }
  return Product{low, high};
}
AR_INLINE Product multiply_pairs(Product x, Product y) {
  return multiply_words(x[0], y[0]) ^ multiply_words(x[1], y[1]);
}
AR_INLINE void multiply_halves(Product x, Product y, Product& even, Product& odd) {
  even ^= multiply_words(x[0], y[0]);
  odd ^= multiply_words(x[1], y[1]);
}
#endif
enum { kProductWords = sizeof(Product) / 8 };

// t, four words, modulo x^128 + x^7 + x^2 + x + 1: its first two.
AR_INLINE void reduce256(uint64_t* t) {
  for (int w = 3; w >= 2; --w) {
    const uint64_t h = t[w];
    t[w - 2] ^= h ^ h << 1 ^ h << 2 ^ h << 7;
    t[w - 1] ^= h >> 63 ^ h >> 62 ^ h >> 57;
  }
}

}  // namespace AR_TIER
}  // namespace autorep
