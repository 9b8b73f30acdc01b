// Distributed comparison function: two keys that give additive shares of payload * [x < alpha], and say nothing alone.
//
// 1. Each party has a secret root (128 bits); the key, common to both, has one correction a level.
// 2. A node is a seed s (lowest bit zero) and a control bit t. G(s) gives for each direction a child seed with its
//    control bit and a value v. Where t is set the corrections are applied.
// 3. On the path of alpha the parties' seeds differ and exactly one t is set; off it they agree, so that all that
//    follows cancels. The value correction of a level makes the values that were collected on leaving the path to the
//    left sum to the payload, and to the right to zero.
//
// G is a correlation-robust hash of the seed under small public tweaks: H_c(s) = AES(z) ^ z with z = sigma(s) ^ c,
// sigma(hi, lo) = (hi ^ lo, hi) under a public AES key. c = direction * 4 + i at a level, 8 + leaf * 2 + i at a leaf;
// i = 0 is the child at a level, and i = 1, 2 (leaf: 0, 1) the values. Where the values of an element take three
// blocks, i goes to 3 at a level, and c = 16 + leaf * 4 + i at a leaf, i = 0, 1, 2.
//
// The AES key is the batch's own, in the header of the key that both parties get, and nobody knows it before: hashes
// computed ahead are of no use, and a guess at the seeds of one batch is none at another's.
//
// Source: Boyle, Chandran, Gilboa, Gupta, Ishai, Kumar, Rathee, EUROCRYPT 2021 (ePrint 2020/1392), figure 1; the hash:
// Guo, Katz, Wang, Yu, IEEE S&P 2020 (ePrint 2019/074), section 7. We differ in folding the last two levels into the
// leaves.
#pragma once
#include "cpu/kernels.h"
#include "prg/blocks.h"

namespace autorep {
namespace AR_TIER {

enum { kU = kAesVectors };

AR_INLINE Blocks mask_of_bit(Blocks x, int bit) { return Blocks{} - ((x >> bit) & (Blocks{} + 1)); }
AR_INLINE Blocks mask_of_control(Blocks y) { return Blocks{} - (low_twice(y) & (Blocks{} + 1)); }
AR_INLINE Blocks choose(Blocks mask, Blocks yes, Blocks no) { return (mask & yes) | (~mask & no); }

// Payloads add up modulo 2^64 or 2^32, each in its place.
template <class O>
AR_INLINE Blocks plus(Blocks x, Blocks y) {
  typedef O V __attribute__((vector_size(sizeof(Blocks))));
  return (Blocks)((V)x + (V)y);
}
template <class O>
AR_INLINE Blocks minus(Blocks x, Blocks y) {
  typedef O V __attribute__((vector_size(sizeof(Blocks))));
  return (Blocks)((V)x - (V)y);
}
template <class O>
AR_INLINE Blocks negate_if(Blocks mask, Blocks x) {
  return minus<O>(x ^ mask, mask);
}

// The elements of one group: kAesBlocks of them, from `first`. Key blocks hold 16; a group may be half of one or
// several.
struct Group {
  const DcfLayout* layout;
  uint64_t* key;  // block 0
  int64_t first, last_block;

  AR_INLINE_MEMBER int64_t element(int i) const { return first + i * kBlocksPerVector; }
  // Row at `offset` words into the element's block, `width` words an element. A group may reach past the last block:
  // its surplus elements then read that block, and are not written.
  AR_INLINE_MEMBER uint64_t* at(int i, int64_t offset, int width) const {
    const int64_t e = element(i), block = min64(e / kDcfBlock, last_block);
    return key + block * layout->block_words + offset + e % kDcfBlock * width;
  }
  // The same of numbers of 32 bits, one an element.
  AR_INLINE_MEMBER uint32_t* half(int i, int64_t offset) const {
    const int64_t e = element(i), block = min64(e / kDcfBlock, last_block);
    return reinterpret_cast<uint32_t*>(key + block * layout->block_words + offset) + e % kDcfBlock;
  }
  // Asks for the same words of the next block: a key goes by once, and from or to memory if there are many elements.
  template <int kWrite>
  AR_INLINE_MEMBER void prefetch(int64_t offset, int64_t words) const {
    if (int64_t(kAesBlocks) > kDcfBlock || first % kDcfBlock) return;
    const uint64_t* next = key + min64(first / kDcfBlock + 1, last_block) * layout->block_words + offset;
    for (int64_t w = 0; w < words; w += 8) __builtin_prefetch(next + w, kWrite);
  }
  AR_INLINE_MEMBER bool inside(int i) const { return element(i) / kDcfBlock <= last_block; }
};

AR_INLINE Blocks load_pair(const uint64_t* p) { return load<Blocks>(p); }

// One word an element, in the low word of its block (the high one is anything, or the same word).
AR_INLINE Blocks load_single(const uint64_t* p) {
#if defined(AR_AVX512)
  const __m512i spread = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
  return (Blocks)_mm512_permutexvar_epi64(spread, _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)p)));
#else
  return Blocks{*p, *p};
#endif
}

AR_INLINE void store_single(uint64_t* p, Blocks x) {
#if defined(AR_AVX512)
  const __m512i gather = _mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6);
  _mm256_storeu_si256((__m256i*)p, _mm512_castsi512_si256(_mm512_permutexvar_epi64(gather, (__m512i)x)));
#else
  *p = x[0];
#endif
}

// One number of 32 bits an element, at place 0 or 2 of the four of its block; the others are zero.
template <int kPlace>
AR_INLINE Blocks load_half(const uint32_t* p) {
#if defined(AR_AVX512)
  const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i four = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i*)p));
  return (Blocks)_mm512_maskz_permutexvar_epi32(kPlace ? 0x4444 : 0x1111, spread, four);
#else
  return kPlace ? Blocks{0, *p} : Blocks{*p, 0};
#endif
}

template <int kPlace>
AR_INLINE void store_half(uint32_t* p, Blocks x) {
#if defined(AR_AVX512)
  const __m512i gather =
      _mm512_setr_epi32(kPlace, kPlace + 4, kPlace + 8, kPlace + 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  _mm_storeu_si128((__m128i*)p, _mm512_castsi512_si128(_mm512_permutexvar_epi32(gather, (__m512i)x)));
#else
  *p = uint32_t(x[kPlace / 2]);
#endif
}

// The payloads of an element, side by side in `kBlocks` blocks, and where the key has corrections of them: those of 64
// bits in pairs and then one, those of 32 bits, three at most, as one word of two and then one.
template <class O, int kPayloads>
struct Values {
  enum { kPlaces = 16 / sizeof(O), kBlocks = (kPayloads + kPlaces - 1) / kPlaces };
  // Tweak of the first block of leaf j: kLeaf + (j << kLeafShift).
  enum { kLeaf = kBlocks > 2 ? 16 : 8, kLeafShift = kBlocks > 2 ? 2 : 1 };

  AR_INLINE Blocks get(const Group& g, int64_t offset, int c, int i) {
    if (sizeof(O) == 4) {
      if (kPayloads == 1) return load_half<0>(g.half(i, offset));
      const Blocks two = load_single(g.at(i, offset, 1));
      if (kPayloads == 2) return two;
      return (two & constant(~uint64_t(0), 0)) | load_half<2>(g.half(i, offset + kDcfBlock));
    }
    if (kPayloads - 2 * c >= 2) return load_pair(g.at(i, offset + c * 2 * kDcfBlock, 2));
    return load_single(g.at(i, offset + c * 2 * kDcfBlock, 1));
  }

  AR_INLINE void put(const Group& g, int64_t offset, int c, int i, Blocks x) {
    if (sizeof(O) == 4) {
      if (kPayloads == 1) return store_half<0>(g.half(i, offset), x);
      store_single(g.at(i, offset, 1), x);
      if (kPayloads == 3) store_half<2>(g.half(i, offset + kDcfBlock), x);
    } else if (kPayloads - 2 * c >= 2) {
      store(g.at(i, offset + c * 2 * kDcfBlock, 2), x);
    } else {
      store_single(g.at(i, offset + c * 2 * kDcfBlock, 1), x);
    }
  }
};

// y[i] = H_c(s[i]) with z[i] = sigma(s[i])
AR_INLINE void hash(const RoundKeys& rk, const Blocks* z, Blocks tweak, Blocks* y) {
  Blocks x[kU];
#pragma GCC unroll 8
  for (int i = 0; i < kU; ++i) x[i] = z[i] ^ tweak;
  aes<true>(rk, x, y);
}

AR_INLINE void hash_each(const RoundKeys& rk, const Blocks* z, const Blocks* tweak, Blocks* y) {
  Blocks x[kU];
#pragma GCC unroll 8
  for (int i = 0; i < kU; ++i) x[i] = z[i] ^ tweak[i];
  aes<true>(rk, x, y);
}

}  // namespace AR_TIER
}  // namespace autorep
