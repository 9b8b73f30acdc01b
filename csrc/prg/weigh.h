// Streams that are used as they are made: tags, and sums of numbers that are weighted by a stream. Modulo 2^64.
#pragma once
#include "prg/stream.h"

namespace autorep {
namespace AR_TIER {

enum { kWeighWords = 512 };  // as in stream.h: stays in the first-level cache
static_assert(kWeighWords % (2 * kAesBlocks) == 0, "chunks are whole groups");

// Words [start, start + have) of a stream, and some more up to whole groups.
AR_INLINE void stream_chunk(const RoundKeys& key, uint64_t purpose, int64_t start, int64_t have, uint64_t* words) {
  const int64_t group = 2 * kAesBlocks;
  stream_blocks(key, purpose, uint64_t(start / 2), (have + group - 1) / group, words);
}

static void weigh(const WeighArgs& a, int threads) {
  for (int64_t row = 0; row < a.rows; ++row) a.sums[row] = 0;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kWeighWords - 1) / kWeighWords; ++c) {
    alignas(64) uint64_t words[kWeighWords];
    const int64_t start = c * kWeighWords, have = min64(kWeighWords, a.n - start);
    stream_chunk(*a.key, a.purpose, start, have, words);
    for (int64_t row = 0; row < a.rows; ++row) {
      const uint64_t* v = a.values + row * a.n + start;
      uint64_t sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < have; ++i) sum += words[i] * v[i];
#pragma omp atomic
      a.sums[row] += sum;
    }
  }
}

static void tag_words(const TagArgs& a, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kWeighWords - 1) / kWeighWords; ++c) {
    alignas(64) uint64_t words[kWeighWords];
    const int64_t start = c * kWeighWords, have = min64(kWeighWords, a.n - start);
    stream_chunk(*a.key, a.purpose, start, have, words);
    const uint64_t* v = a.values + start;
    uint64_t* out = a.out + start;
    for (int64_t i = 0; i < have; ++i) out[i] = a.factor * v[i] + words[i];
  }
}

}  // namespace AR_TIER
}  // namespace autorep
