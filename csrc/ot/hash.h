// The hash of oblivious transfer, and the bits and choices of its blocks. See autorep_fx/kernels/ot.py.
//
// TMMO, H(x; tweak) = p(p(x) ^ tweak) ^ p(x), p AES-128 under a fixed key: Guo, Katz, Wang, Yu, "Efficient and secure
// multiparty computation from fixed-key block ciphers" (S&P 2020, ePrint 2019/074).
#pragma once
#include "cpu/kernels.h"
#include "prg/blocks.h"

namespace autorep {
namespace AR_TIER {

// The tweaks (index, domain), (index + 1, domain), ... of consecutive blocks.
struct Tweaks {
  Blocks next[kAesVectors], step;

  AR_INLINE_MEMBER Tweaks(uint64_t index, uint64_t domain) {
    uint64_t first[2 * kAesBlocks], by[2 * kBlocksPerVector];
    for (int b = 0; b < kAesBlocks; ++b) first[2 * b] = index + uint64_t(b), first[2 * b + 1] = domain;
    for (int b = 0; b < kBlocksPerVector; ++b) by[2 * b] = kAesBlocks, by[2 * b + 1] = 0;
    memcpy(next, first, sizeof next);
    step = load<Blocks>(by);
  }

  AR_INLINE_MEMBER void advance() {
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) next[i] += step;
  }
};

// y[i] = H(x[i]; tweaks).
AR_INLINE void tweaked_hash(const RoundKeys& key, const Tweaks& tweaks, const Blocks* x, Blocks* y) {
  Blocks inner[kAesVectors], outer[kAesVectors];
  aes<false>(key, x, inner);
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) outer[i] = inner[i] ^ tweaks.next[i];
  aes<false>(key, outer, outer);
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) y[i] = outer[i] ^ inner[i];
}

enum { kOtGroup = kAesBlocks < 64 ? 64 : kAesBlocks };  // OTs that are hashed before anything else is done with them

// The low words of the hashes of kOtGroup blocks, of which `have` are there, each XORed with `shift`.
AR_INLINE void hash_group(const RoundKeys& key, Tweaks tweaks, const uint64_t* blocks, int64_t have, Blocks shift,
                          uint64_t* low) {
  for (int64_t g = 0; g < kOtGroup; g += kAesBlocks) {
    Blocks x[kAesVectors], y[kAesVectors];
    if (kAesBlocks <= 64) {
      memcpy(x, blocks + 2 * g, sizeof x);
    } else {
      memset(x, 0, sizeof x);
      memcpy(x, blocks, size_t(have) * 16);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) x[i] ^= shift;
    tweaked_hash(key, tweaks, x, y);
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i)
      for (int b = 0; b < kBlocksPerVector; ++b) low[g + i * kBlocksPerVector + b] = y[i][2 * b];
    tweaks.advance();
  }
}

// One bit of each of 64 words.
AR_INLINE uint64_t plane_word(const uint64_t* from, int bit) {
  uint64_t word = 0;
#if defined(AR_AVX512)
  const __m512i mask = _mm512_set1_epi64(int64_t(uint64_t(1) << bit));
#pragma GCC unroll 8
  for (int j = 0; j < 64; j += 8) word |= uint64_t(_mm512_test_epi64_mask((__m512i)load<V512>(from + j), mask)) << j;
#else
  for (int j = 0; j < 64; ++j) word |= (from[j] >> bit & 1) << j;
#endif
  return word;
}

static void ot_bits(const OtBitsArgs& a, int threads) {
  const Blocks shift = a.delta ? constant(a.delta[0], a.delta[1]) : Blocks{};
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t begin = 0; begin < a.n; begin += kOtGroup) {
    const int64_t have = min64(kOtGroup, a.n - begin);
    alignas(64) uint64_t low[kOtGroup];
    hash_group(*a.key, Tweaks(a.index + uint64_t(begin), a.domain), a.blocks + 2 * begin, have, shift, low);
    for (int bit = 0; bit < a.bits; ++bit)
      for (int64_t w = 0; w < have / 64; ++w)
        a.planes[bit * (a.n / 64) + begin / 64 + w] = plane_word(low + 64 * w, bit);
  }
}

static void ot_flip(const OtFlipArgs& a, int threads) {
  const uint64_t low = a.delta[0], high = a.delta[1];
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t w = 0; w < a.n / 64; ++w) {
    uint64_t* q = a.q + 128 * w;
    const uint64_t word = a.plane[w];
    for (int j = 0; j < 64; ++j) {
      const uint64_t chosen = 0 - (word >> j & 1);
      q[2 * j] ^= low & chosen, q[2 * j + 1] ^= high & chosen;
    }
  }
}

}  // namespace AR_TIER
}  // namespace autorep
