// Random polynomials from an AES stream: uniform modulo a prime, ternary, and centred binomial.
#pragma once
#include "prg/stream.h"
#include "rlwe/lanes.h"

namespace autorep {
namespace AR_TIER {

enum : int64_t { kSampleWords = 512 };  // a chunk, as in prg/stream.h
enum { kNoiseBits = 21 };

// Coefficient j is the low 27 bits of the stream's 32-bit number j. Where those are p or more, the next such number
// behind the first n that is not takes its place, coefficient by coefficient. What is sampled is public: which are
// replaced shows.
static void sample_uniform(const RoundKeys& key, uint64_t purpose, uint32_t p, int64_t n, uint32_t* out) {
  enum : int64_t { kSpare = 4 * kAesBlocks };
  const uint32_t mask = (uint32_t(1) << 27) - 1;
  stream_blocks(key, purpose, 0, n / 4 / kAesBlocks, (uint64_t*)out);
  uint32_t beyond = 0;
  for (int64_t j = 0; j < n; ++j) out[j] &= mask, beyond += out[j] >= p;
  if (!beyond) return;
  uint32_t spare[kSpare];
  int64_t at = kSpare, block = n / 4;
  for (int64_t j = 0; j < n; ++j)
    while (out[j] >= p) {
      if (at == kSpare) {
        stream_blocks(key, purpose, uint64_t(block), 1, (uint64_t*)spare);
        at = 0, block += kAesBlocks;
      }
      out[j] = spare[at++] & mask;
    }
}

template <class Each>
static void sample_words(const RoundKeys& key, uint64_t purpose, int64_t n, int8_t* out, Each each) {
  alignas(64) uint64_t words[kSampleWords];
  for (int64_t start = 0; start < n; start += kSampleWords) {
    stream_blocks(key, purpose, uint64_t(start / 2), kSampleWords / 2 / kAesBlocks, words);
    for (int64_t j = 0; j < kSampleWords; ++j) out[start + j] = each(words[j]);
  }
}

// -1, 0 and 1: floor(3 w / 2^64) - 1 of word j, so that each is within 2^-63 as likely as the others.
static void sample_ternary(const RoundKeys& key, uint64_t purpose, int64_t n, int8_t* out) {
  sample_words(key, purpose, n, out, [](uint64_t w) __attribute__((always_inline)) {
    const uint64_t low = 3 * (w & 0xffffffff), high = 3 * (w >> 32);
    return int8_t(int32_t((high + (low >> 32)) >> 32) - 1);
  });
}

// The ones among the low 21 bits of word j less those among the next 21: variance 10.5.
static void sample_noise(const RoundKeys& key, uint64_t purpose, int64_t n, int8_t* out) {
  sample_words(key, purpose, n, out, [](uint64_t w) __attribute__((always_inline)) {
    const uint64_t mask = (uint64_t(1) << kNoiseBits) - 1;
    uint64_t v = (w & mask) | (w >> kNoiseBits & mask) << 32;
    v = v - (v >> 1 & 0x5555555555555555u);
    v = (v & 0x3333333333333333u) + (v >> 2 & 0x3333333333333333u);
    v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    v += v >> 8, v += v >> 16;
    return int8_t(int32_t(v & 63) - int32_t(v >> 32 & 63));
  });
}

}  // namespace AR_TIER
}  // namespace autorep
