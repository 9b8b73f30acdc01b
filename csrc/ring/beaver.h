// The square of a secret-shared value in CrypTen's form: Beaver opening, product, truncation and constant in one pass.
#pragma once
#include "cpu/kernels.h"

namespace autorep {
namespace AR_TIER {

// One stretch that has a single offset step: 0 repeats offset[0], 1 walks along it.
template <int kOffsetStep>
static inline void beaver_square_run(const BeaverSquareArgs& a, int64_t begin, int64_t end, const uint64_t* offset) {
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
    const int64_t q = int64_t(v + (uint64_t(s >> 63) & low)) >> shift;  // towards zero, like torch's "trunc"
    out[i] = uint64_t(q) + (offset ? offset[kOffsetStep * i] : 0);
  }
}

static void beaver_square(const BeaverSquareArgs& a, int threads) {
  if (!a.offset || a.inner == 1) {
    // A full-shaped offset walks along; with inner == 1 and a shorter one, each period is a stretch of its own.
    const int64_t period = a.offset && a.count < a.n ? a.count : a.n;
    if (period == a.n) {
#pragma omp parallel num_threads(threads)
      {
#pragma omp for schedule(static)
        for (int64_t c = 0; c < (a.n + 8191) / 8192; ++c) {
          const int64_t b = c * 8192, e = b + 8192 < a.n ? b + 8192 : a.n;
          beaver_square_run<1>(a, b, e, a.offset ? a.offset + b : nullptr);
        }
      }
      return;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t c = 0; c < a.n / period; ++c) beaver_square_run<1>(a, c * period, (c + 1) * period, a.offset);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < a.n / a.inner; ++row)
    beaver_square_run<0>(a, row * a.inner, (row + 1) * a.inner, a.offset + row % a.count);
}

}  // namespace AR_TIER
}  // namespace autorep
