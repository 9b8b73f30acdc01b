// Correlated strings mod 2^bits from oblivious transfer: hashed, corrected and packed in one pass. See
// autorep_fx/kernels/ot.py.
#pragma once
#include "ot/hash.h"

namespace autorep {
namespace AR_TIER {

AR_INLINE uint64_t low_mask(int bits) { return ~uint64_t(0) >> (64 - bits); }

// 64 numbers below 2^bits to `bits` words. v is changed.
static inline void pack64(uint64_t* v, int bits, uint64_t* out) {
  int count = 64;
  for (; bits <= 16 && count > 8; count /= 4, bits *= 4)  // four to one, as long as they fit
    for (int i = 0; i < count / 4; ++i)
      v[i] = v[4 * i] | v[4 * i + 1] << bits | v[4 * i + 2] << (2 * bits) | v[4 * i + 3] << (3 * bits);
  if (bits <= 32) {
    for (int i = 0; i < count / 2; ++i) v[i] = v[2 * i] | v[2 * i + 1] << bits;
    count /= 2, bits *= 2;
  }
  uint64_t word = 0;
  int filled = 0;
  for (int i = 0; i < count; ++i) {
    word |= v[i] << filled;
    filled += bits;
    if (filled >= 64) {
      *out++ = word;
      filled -= 64;
      word = filled ? v[i] >> (bits - filled) : 0;
    }
  }
}

// The inverse; `in` has a word more than it needs, of any content.
static inline void unpack64(const uint64_t* in, int bits, uint64_t* v) {
  const uint64_t mask = low_mask(bits);
  for (int i = 0; i < 64; ++i) {
    const int at = i * bits;
    const uint64_t* word = in + at / 64;
    v[i] = (word[0] >> (at % 64) | word[1] << 1 << (63 - at % 64)) & mask;
  }
}

template <class T>
static void ot_send_typed(const OtSendArgs& a, int threads) {
  const uint64_t mask = low_mask(a.bits);
  const Blocks shift = constant(a.delta[0], a.delta[1]);
  const T* values = static_cast<const T*>(a.values);
  T* share = static_cast<T*>(a.share);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t begin = 0; begin < a.n; begin += kOtGroup) {
    const int64_t have = min64(kOtGroup, a.n - begin);
    alignas(64) uint64_t zero[kOtGroup], one[kOtGroup];
    const Tweaks tweaks(a.index + uint64_t(begin), a.domain);
    hash_group(*a.key, tweaks, a.q + 2 * begin, have, Blocks{}, zero);
    hash_group(*a.key, tweaks, a.q + 2 * begin, have, shift, one);
    for (int64_t i = 0; i < have; ++i) {
      one[i] = (zero[i] - one[i] + values[begin + i]) & mask;
      share[begin + i] = T((0 - zero[i]) & mask);
    }
    for (int64_t w = 0; w < have / 64; ++w) pack64(one + 64 * w, a.bits, a.message + (begin / 64 + w) * a.bits);
  }
}

static void ot_send(const OtSendArgs& a, int threads) {
  a.bits <= 32 ? ot_send_typed<uint32_t>(a, threads) : ot_send_typed<uint64_t>(a, threads);
}

template <class T>
static void ot_receive_typed(const OtReceiveArgs& a, int threads) {
  const uint64_t mask = low_mask(a.bits);
  T* share = static_cast<T*>(a.share);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t begin = 0; begin < a.n; begin += kOtGroup) {
    const int64_t have = min64(kOtGroup, a.n - begin);
    alignas(64) uint64_t mine[kOtGroup];
    hash_group(*a.key, Tweaks(a.index + uint64_t(begin), a.domain), a.t + 2 * begin, have, Blocks{}, mine);
    for (int64_t w = 0; w < have / 64; ++w) {
      uint64_t packed[65], sent[64];
      memcpy(packed, a.message + (begin / 64 + w) * a.bits, size_t(a.bits) * 8);
      packed[a.bits] = 0;
      unpack64(packed, a.bits, sent);
      const uint64_t chosen = a.choices[begin / 64 + w];
      for (int j = 0; j < 64; ++j)
        share[begin + 64 * w + j] = T((mine[64 * w + j] + (sent[j] & (0 - (chosen >> j & 1)))) & mask);
    }
  }
}

static void ot_receive(const OtReceiveArgs& a, int threads) {
  a.bits <= 32 ? ot_receive_typed<uint32_t>(a, threads) : ot_receive_typed<uint64_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
