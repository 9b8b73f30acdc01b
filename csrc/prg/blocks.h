// Words of 128-bit blocks, as many as a vector has.
#pragma once
#include "prg/aes.h"

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512)
AR_INLINE Blocks swap_words(Blocks x) { return (Blocks)_mm512_shuffle_epi32((__m512i)x, (_MM_PERM_ENUM)0x4e); }
AR_INLINE Blocks low_twice(Blocks x) { return (Blocks)_mm512_shuffle_epi32((__m512i)x, (_MM_PERM_ENUM)0x44); }
#elif defined(AR_AVX2)
AR_INLINE Blocks swap_words(Blocks x) { return (Blocks)_mm_shuffle_epi32((__m128i)x, 0x4e); }
AR_INLINE Blocks low_twice(Blocks x) { return (Blocks)_mm_shuffle_epi32((__m128i)x, 0x44); }
#else
AR_INLINE Blocks swap_words(Blocks x) { return Blocks{x[1], x[0]}; }
AR_INLINE Blocks low_twice(Blocks x) { return Blocks{x[0], x[0]}; }
#endif

// One 128-bit constant in every block, low word first.
AR_INLINE Blocks constant(uint64_t lo, uint64_t hi) {
  uint64_t words[2 * kBlocksPerVector];
  for (int b = 0; b < kBlocksPerVector; ++b) words[2 * b] = lo, words[2 * b + 1] = hi;
  return load<Blocks>(words);
}

// A linear map that is one to one, and so is its sum with the identity.
AR_INLINE Blocks sigma(Blocks s) { return swap_words(s) ^ (s & constant(0, ~uint64_t(0))); }

}  // namespace AR_TIER
}  // namespace autorep
