// The 64-bit tile for AVX2, which multiplies 32 bits only: low and high halves are summed apart and joined at the end.
#pragma once
#include "ring/lanes.h"

namespace autorep {
namespace AR_TIER {

// Weights of up to 32 bits, signed: two products. w * x = w * lo + 2^32 * w * hi, where lo is the signed low half of x
// and hi takes up its sign.
template <class W>
struct SplitTile {
  template <int kUsed>
  static void run(const char* const* pixel, const int64_t* k_offset, int64_t kn, const W* w, int64_t row,
                  Sums<uint64_t> sums) {
    __m256i low[kUsed], high[kUsed];
    for (int p = 0; p < kUsed; ++p) low[p] = (__m256i)sums.get<V256>(p), high[p] = _mm256_setzero_si256();
    const __m256i half = _mm256_set1_epi64x(int64_t(1) << 31);
    for (int64_t k = 0; k < kn; ++k) {
      const __m256i wv = (__m256i)Lanes<uint64_t>::widen(w + k * row);
#pragma GCC unroll 4
      for (int p = 0; p < kUsed; ++p) {
        const __m256i x = _mm256_set1_epi64x(*reinterpret_cast<const int64_t*>(pixel[p] + k_offset[k]));
        low[p] = _mm256_add_epi64(low[p], _mm256_mul_epi32(wv, x));
        high[p] = _mm256_add_epi64(high[p], _mm256_mul_epi32(wv, _mm256_srli_epi64(_mm256_add_epi64(x, half), 32)));
      }
    }
    for (int p = 0; p < kUsed; ++p) sums.put(p, (V256)_mm256_add_epi64(low[p], _mm256_slli_epi64(high[p], 32)));
  }
};

// Weights of 64 bits: three products.
template <>
struct SplitTile<int64_t> {
  template <int kUsed>
  static void run(const char* const* pixel, const int64_t* k_offset, int64_t kn, const int64_t* w, int64_t row,
                  Sums<uint64_t> sums) {
    __m256i low[kUsed], high[kUsed];
    for (int p = 0; p < kUsed; ++p) low[p] = (__m256i)sums.get<V256>(p), high[p] = _mm256_setzero_si256();
    for (int64_t k = 0; k < kn; ++k) {
      const __m256i wv = (__m256i)load<V256>(w + k * row), wh = _mm256_srli_epi64(wv, 32);
#pragma GCC unroll 4
      for (int p = 0; p < kUsed; ++p) {
        const __m256i x = _mm256_set1_epi64x(*reinterpret_cast<const int64_t*>(pixel[p] + k_offset[k]));
        const __m256i cross = _mm256_add_epi64(_mm256_mul_epu32(wv, _mm256_srli_epi64(x, 32)), _mm256_mul_epu32(wh, x));
        low[p] = _mm256_add_epi64(low[p], _mm256_mul_epu32(wv, x));
        high[p] = _mm256_add_epi64(high[p], cross);
      }
    }
    for (int p = 0; p < kUsed; ++p) sums.put(p, (V256)_mm256_add_epi64(low[p], _mm256_slli_epi64(high[p], 32)));
  }
};

}  // namespace AR_TIER
}  // namespace autorep
