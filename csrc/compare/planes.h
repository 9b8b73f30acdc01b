// Bit planes: plane i holds bit i of every element, 64 elements in a word, element 64 w + j at bit j of word w.
#pragma once
#include "cpu/kernels.h"
#include "prg/transpose.h"

#if defined(AR_AVX512) || defined(AR_AVX2)
#include <immintrin.h>
#endif

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512) || defined(AR_AVX2)
// bytes[k]: byte k of each of 32 elements, shifted, in their order.
AR_INLINE void bytes_of_32(const uint64_t* v, __m128i shift, __m256i* bytes) {
  const __m256i pairs =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
  __m256i x[8], y[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const __m128i* at = reinterpret_cast<const __m128i*>(v + 2 * j);
    const __m256i four =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at)), _mm_loadu_si128(at + 8), 1);
    x[j] = _mm256_shuffle_epi8(_mm256_srl_epi64(four, shift), pairs);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    y[j] = _mm256_unpacklo_epi16(x[2 * j], x[2 * j + 1]);      // bytes 0 to 3 of four elements
    y[j + 4] = _mm256_unpackhi_epi16(x[2 * j], x[2 * j + 1]);  // bytes 4 to 7
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    x[2 * j] = _mm256_unpacklo_epi32(y[2 * j], y[2 * j + 1]);  // two bytes of eight elements
    x[2 * j + 1] = _mm256_unpackhi_epi32(y[2 * j], y[2 * j + 1]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const int at = j % 2 + j / 2 * 4;
    bytes[2 * j] = _mm256_unpacklo_epi64(x[at], x[at + 2]);
    bytes[2 * j + 1] = _mm256_unpackhi_epi64(x[at], x[at + 2]);
  }
}
#endif

enum { kLineWords = 8 };  // of a plane, written at a time: planes often lie a multiple of 4096 bytes apart

// A word of every plane, kLineWords apart, from 64 elements.
AR_INLINE void pack_word(const uint64_t* v, int shift, int bits, uint64_t* planes) {
#if defined(AR_AVX512) || defined(AR_AVX2)
  __m256i low[8], high[8];
  bytes_of_32(v, _mm_cvtsi32_si128(shift), low);
  bytes_of_32(v + 32, _mm_cvtsi32_si128(shift), high);
  for (int i = 0; i < bits; ++i) {
    // The bit to the top of its byte; what crosses into the next is not read.
    const __m128i up = _mm_cvtsi32_si128(7 - i % 8);
    const uint32_t first = _mm256_movemask_epi8(_mm256_sll_epi16(low[i / 8], up));
    const uint32_t second = _mm256_movemask_epi8(_mm256_sll_epi16(high[i / 8], up));
    planes[i * kLineWords] = uint64_t(second) << 32 | first;
  }
#else
  uint64_t x[64];
  for (int j = 0; j < 64; ++j) x[j] = v[j] >> shift;
  transpose64(x);
  for (int i = 0; i < bits; ++i) planes[i * kLineWords] = x[i];
#endif
}

template <class T>
static void pack_typed(const PackArgs& a, int threads) {
  const int64_t words = (a.n + 63) / 64;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t begin = 0; begin < words; begin += kLineWords) {
    const int64_t have = min64(kLineWords, words - begin);
    uint64_t lines[64][kLineWords];
    for (int64_t w = 0; w < have; ++w) {
      const T* v = static_cast<const T*>(a.values) + 64 * (begin + w);
      const int64_t left = min64(64, a.n - 64 * (begin + w));
      uint64_t wide[64];
      if (sizeof(T) == 8 && left == 64) {
        pack_word(reinterpret_cast<const uint64_t*>(v), a.shift, a.bits, lines[0] + w);
        continue;
      }
      for (int64_t i = 0; i < left; ++i) wide[i] = v[i];
      for (int64_t i = left; i < 64; ++i) wide[i] = 0;
      pack_word(wide, a.shift, a.bits, lines[0] + w);
    }
    for (int i = 0; i < a.bits; ++i) memcpy(a.planes + i * words + begin, lines[i], size_t(have) * 8);
  }
}

static void pack_bits(const PackArgs& a, int threads) {
  a.value_bytes == 4 ? pack_typed<uint32_t>(a, threads) : pack_typed<uint64_t>(a, threads);
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
