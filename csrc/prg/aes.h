// AES-128 on many blocks at once, one implementation per tier: VAES on 512 bits, AES-NI, or bit planes in plain words.
//
// A tier provides the vector type Blocks, holding kBlocksPerVector 128-bit blocks (low word first), and kAesVectors,
// how many of them it wants in flight; kAesBlocks is their product.
#pragma once
#include "cpu/vector.h"
#include "prg/key_schedule.h"

#if defined(AR_AVX512) || defined(AR_AVX2)
#include <immintrin.h>
#else
#include "prg/aes_bitsliced.h"
#endif

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512)
typedef V512 Blocks;
enum { kBlocksPerVector = 4, kAesVectors = 4 };
AR_INLINE __m512i round_key(const RoundKeys& rk, int i) {
  return _mm512_broadcast_i32x4(_mm_load_si128((const __m128i*)rk.bytes + i));
}
AR_INLINE Blocks aes_round(Blocks x, __m512i k) { return (Blocks)_mm512_aesenc_epi128((__m512i)x, k); }
AR_INLINE Blocks aes_last(Blocks x, __m512i k) { return (Blocks)_mm512_aesenclast_epi128((__m512i)x, k); }
#elif defined(AR_AVX2)
typedef V128 Blocks;
enum { kBlocksPerVector = 1, kAesVectors = 8 };
AR_INLINE __m128i round_key(const RoundKeys& rk, int i) { return _mm_load_si128((const __m128i*)rk.bytes + i); }
AR_INLINE Blocks aes_round(Blocks x, __m128i k) { return (Blocks)_mm_aesenc_si128((__m128i)x, k); }
AR_INLINE Blocks aes_last(Blocks x, __m128i k) { return (Blocks)_mm_aesenclast_si128((__m128i)x, k); }
#else
typedef V128 Blocks;
enum { kBlocksPerVector = 1, kAesVectors = kBitslicedBlocks };
#endif
enum { kAesBlocks = kBlocksPerVector * kAesVectors };

// y[i] = AES(x[i]), or AES(x[i]) ^ x[i] with kFeedForward. x may be y.
template <bool kFeedForward>
AR_INLINE void aes(const RoundKeys& rk, const Blocks* x, Blocks* y) {
#if defined(AR_AVX512) || defined(AR_AVX2)
  Blocks in[kAesVectors], v[kAesVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) in[i] = x[i], v[i] = x[i] ^ (Blocks)round_key(rk, 0);
#pragma GCC unroll 9
  for (int r = 1; r < 10; ++r) {
    const auto k = round_key(rk, r);
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) v[i] = aes_round(v[i], k);
  }
  const auto k = round_key(rk, 10);
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) y[i] = aes_last(v[i], kFeedForward ? (decltype(k))((Blocks)k ^ in[i]) : k);
#else
  aes_bitsliced<kFeedForward>(rk, x, y);
#endif
}

}  // namespace AR_TIER
}  // namespace autorep
