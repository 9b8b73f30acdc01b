// The square of a secret-shared value in CrypTen's form: product after the Beaver opening and truncation, in one pass.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

static inline void beaver_square_run(const BeaverSquareArgs& a, int64_t begin, int64_t end) {
  const uint64_t* e = a.epsilon + begin;
  const uint64_t* r = a.r + begin;
  const uint64_t* r2 = a.r2 + begin;
  uint64_t* out = a.out + begin;
  const uint64_t mine = a.party == 0;
  const uint64_t low = (uint64_t(1) << a.frac_bits) - 1;
  const int shift = a.frac_bits;
  const int64_t n = end - begin;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    // r2 + 2 e r + e^2 = r2 + e (2 r + e), one multiplication.
    const uint64_t v = r2[i] + e[i] * (2 * r[i] + mine * e[i]);
    const int64_t s = int64_t(v);
    out[i] = uint64_t(int64_t(v + (uint64_t(s >> 63) & low)) >> shift);  // towards zero, like torch's "trunc"
  }
}

static void beaver_square(const BeaverSquareArgs& a, int threads) {
  enum { kChunk = 8192 };
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c)
    beaver_square_run(a, c * kChunk, min64((c + 1) * kChunk, a.n));
}

}  // namespace AR_TIER
}  // namespace autorep
