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

template <class M, class O, class B>
static void select_run(const SelectArgs& a, int64_t begin, int64_t end) {
  const int t = a.shift;
  const O one = a.party == 0;
  const M* m = static_cast<const M*>(a.m);
  const O *us = static_cast<const O*>(a.u), *uas = static_cast<const O*>(a.ua), *alpha = static_cast<const O*>(a.alpha);
  const B *beta = static_cast<const B*>(a.beta), *ub = static_cast<const B*>(a.ub);
  O* out = static_cast<O*>(a.out);
  for (int64_t word = begin / 64; 64 * word < end; ++word) {
    const uint64_t bits = a.v[word];
    const int64_t base = 64 * word, stop = min64(64, end - base);
#pragma omp simd
    for (int64_t j = 0; j < stop; ++j) {
      const int64_t i = base + j;
      const O v = O(0) - O(bits >> j & 1);  // as a mask; (1 - 2 v) z is then (z ^ v) - v
      const Truncated<M, O> x(m[i], t);
      const O rx = alpha[i] - (x.mu & full<O>(beta[i])), ux = uas[i] - (x.mu & full<O>(ub[i]));
      out[i] = x.mx * O((v & one) + ((us[i] ^ v) - v)) - (v & rx) - ((ux ^ v) - v);
    }
  }
}

typedef void (*SelectRun)(const SelectArgs&, int64_t, int64_t);

static void select(const SelectArgs& a, int threads) {
  enum { kChunk = 4096 };
  const auto run = by_widths(a.m_bytes, a.out_bytes, a.beta_bytes, [](auto of) -> SelectRun {
    using W = decltype(of);
    return select_run<typename W::M, typename W::O, typename W::B>;
  });
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) run(a, c * kChunk, min64((c + 1) * kChunk, a.n));
}

// The dealer's side: u, ua, ub hold one party's shares and become the other's; u's bits come packed.
template <class M, class O, class B>
static void deal_select_run(const DealSelectArgs& a, int64_t begin, int64_t end) {
  const int t = a.shift, down = 8 * int(sizeof(O) - sizeof(B));
  const M* r = static_cast<const M*>(a.r);
  O *us = static_cast<O*>(a.u), *uas = static_cast<O*>(a.ua);
  B* ubs = static_cast<B*>(a.ub);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t u = a.bits[i / 64] >> (i % 64) & 1, mask = 0 - u;
    const TruncatedMask<M> x(r[i], t, down);
    us[i] = O(u) - us[i];
    uas[i] = O(mask & x.alpha) - uas[i];
    ubs[i] = B(mask & x.beta) - ubs[i];
  }
}

typedef void (*DealSelectRun)(const DealSelectArgs&, int64_t, int64_t);

static void deal_select(const DealSelectArgs& a, int threads) {
  enum { kChunk = 8192 };
  const auto run = by_widths(a.r_bytes, a.share_bytes, a.beta_bytes, [](auto of) -> DealSelectRun {
    using W = decltype(of);
    return deal_select_run<typename W::M, typename W::O, typename W::B>;
  });
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) run(a, c * kChunk, min64((c + 1) * kChunk, a.n));
}

}  // namespace AR_TIER
}  // namespace autorep
