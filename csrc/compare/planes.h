// Bit planes: plane i holds bit i of every element, 64 elements in a word, element 64 w + j at bit j of word w.
#pragma once
#include "cpu/kernels.h"
#include "prg/transpose.h"

#ifdef AR_AVX512
#include <immintrin.h>
#endif

namespace autorep {
namespace AR_TIER {

// One word of every plane, from 64 elements.
AR_INLINE void pack_word(const uint64_t* v, int shift, int bits, uint64_t* planes, int64_t words) {
#ifdef AR_AVX512
  __m512i x[8];
#pragma GCC unroll 8
  for (int q = 0; q < 8; ++q) x[q] = _mm512_loadu_si512(v + 8 * q);
  for (int i = 0; i < bits; ++i) {
    const __m512i probe = _mm512_set1_epi64(int64_t(uint64_t(1) << (shift + i)));
    uint64_t word = 0;
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q) word |= uint64_t(_cvtmask8_u32(_mm512_test_epi64_mask(x[q], probe))) << (8 * q);
    planes[i * words] = word;
  }
#else
  uint64_t x[64];
  for (int j = 0; j < 64; ++j) x[j] = v[j] >> shift;
  transpose64(x);
  for (int i = 0; i < bits; ++i) planes[i * words] = x[i];
#endif
}

static void pack_bits(const PackArgs& a, int threads) {
  const int64_t words = (a.n + 63) / 64;
#pragma omp parallel for schedule(static, 64) num_threads(threads)
  for (int64_t w = 0; w < words; ++w) {
    const int64_t have = min64(64, a.n - 64 * w);
    if (have == 64) {
      pack_word(a.values + 64 * w, a.shift, a.bits, a.planes + w, words);
    } else {
      uint64_t padded[64] = {};
      memcpy(padded, a.values + 64 * w, size_t(have) * 8);
      pack_word(padded, a.shift, a.bits, a.planes + w, words);
    }
  }
}

static void unpack_bits(const UnpackArgs& a, int threads) {
  const int64_t words = (a.n + 63) / 64;
#pragma omp parallel for schedule(static, 64) num_threads(threads)
  for (int64_t w = 0; w < words; ++w) {
    uint64_t x[64] = {};
    if (a.bits == 1) {
      const uint64_t word = a.planes[w];
      for (int j = 0; j < 64; ++j) x[j] = word >> j & 1;
    } else {
      for (int i = 0; i < a.bits; ++i) x[i] = a.planes[i * words + w];
      transpose64(x);
    }
    memcpy(a.values + 64 * w, x, size_t(min64(64, a.n - 64 * w)) * 8);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
