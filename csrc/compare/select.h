// From the opened sign bit to a share of the ReLU (variant gmw).
//
// v = drelu ^ u is public, drelu = v + (1 - 2 v) u, and x = mx - (alpha - mu * beta) as in ring/activation.h, so
//   x * drelu = mx (v [party 0] + (1 - 2 v) u) - v (alpha - mu beta) - (1 - 2 v) (ua - mu ub)
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"
#include "ring/activation.h"

namespace autorep {
namespace AR_TIER {

template <class B>
static void select_run(const SelectArgs& a, int64_t begin, int64_t end) {
  const int t = a.shift;
  const uint64_t half = uint64_t(1) << 62, center = uint64_t(1) << (62 - t), one = a.party == 0;
  const B *beta = static_cast<const B*>(a.beta), *ub = static_cast<const B*>(a.ub);
  for (int64_t word = begin / 64; 64 * word < end; ++word) {
    const uint64_t bits = a.v[word];
    const int64_t base = 64 * word, stop = min64(64, end - base);
#pragma omp simd
    for (int64_t j = 0; j < stop; ++j) {
      const int64_t i = base + j;
      const uint64_t v = 0 - (bits >> j & 1);  // as a mask; (1 - 2 v) z is then (z ^ v) - v
      const uint64_t mp = a.m[i] + half, mx = (mp >> t) - center, mu = ~uint64_t(int64_t(mp) >> 63);
      const uint64_t rx = a.alpha[i] - (mu & full(beta[i])), ux = a.ua[i] - (mu & full(ub[i]));
      a.out[i] = mx * ((v & one) + ((a.u[i] ^ v) - v)) - (v & rx) - ((ux ^ v) - v);
    }
  }
}

static void select(const SelectArgs& a, int threads) {
  enum { kChunk = 4096 };
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) {
    const int64_t begin = c * kChunk, end = min64(begin + kChunk, a.n);
    if (a.beta_bytes == 4) select_run<uint32_t>(a, begin, end);
    else select_run<uint64_t>(a, begin, end);
  }
}

// The dealer's side: u, ua, ub hold one party's shares and become the other's; u's bits come packed.
template <class B>
static void deal_select_run(const DealSelectArgs& a, int64_t begin, int64_t end) {
  const int t = a.shift, up = (sizeof(B) == 4 ? 32 : 64) - t;
  B* ub = static_cast<B*>(a.ub);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t u = a.bits[i / 64] >> (i % 64) & 1, mask = 0 - u, r = a.r[i];
    const uint64_t beta = t ? (r >> 63) << (up & 63) : 0;
    a.u[i] = u - a.u[i];
    a.ua[i] = (mask & (r >> t)) - a.ua[i];
    ub[i] = B(mask & beta) - ub[i];
  }
}

static void deal_select(const DealSelectArgs& a, int threads) {
  enum { kChunk = 8192 };
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) {
    const int64_t begin = c * kChunk, end = min64(begin + kChunk, a.n);
    if (a.beta_bytes == 4) deal_select_run<uint32_t>(a, begin, end);
    else deal_select_run<uint64_t>(a, begin, end);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
