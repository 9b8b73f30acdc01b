// Splines on a masked wire: which knots a value is beyond, the coefficients of its piece, and the piece's value. What
// is shared, and why it is right: secure/parties/splines.py.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"
#include "ring/activation.h"

namespace autorep {
namespace AR_TIER {

// Of 64 elements, a word of each knot's plane. A word of cells, turned by the masked value's six bits, has the share of
// [x lies in cell c] at bit c; the bits from a knot's cell on add up to that of [x >= knot].
template <class M>
static void cell_bits_run(const CellBitsArgs& a, int64_t word) {
  const M* m = static_cast<const M*>(a.m);
  const int64_t base = 64 * word, stop = min64(64, a.n - base), words = (a.n + 63) / 64;
  const uint64_t v = a.v[word], *low = a.cells + base, *high = a.cells + a.n + base;
  uint64_t beyond[64] = {0};
#pragma omp simd
  for (int64_t j = 0; j < stop; ++j) {
    const uint64_t pick = 0 - (v >> j & 1), by = uint64_t(m[base + j] >> a.shift) & 63;
    uint64_t x = low[j] ^ (pick & (low[j] ^ high[j]));
    x = x << by | x >> (-by & 63);
    x ^= x >> 1, x ^= x >> 2, x ^= x >> 4, x ^= x >> 8, x ^= x >> 16, x ^= x >> 32;
    beyond[j] = x;
  }
  for (int64_t k = 0; k < a.knots; ++k) {
    const uint64_t at = a.places[k];
    uint64_t plane = 0;
#pragma omp simd reduction(| : plane)
    for (int64_t j = 0; j < 64; ++j) plane |= (beyond[j] >> at & 1) << j;
    a.planes[k * words + word] = plane;
  }
}

static void cell_bits(const CellBitsArgs& a, int threads) {
  const auto run = a.m_bytes == 4 ? cell_bits_run<uint32_t> : cell_bits_run<uint64_t>;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t word = 0; word < (a.n + 63) / 64; ++word) run(a, word);
}

// With b = v + (1 - 2 v) u for every knot: base + sum rise b, and of all but the first row what it is opened under.
template <class O, int kRows>
static void spline_sums_run(const SplineSumsArgs& a, int64_t word) {
  const int64_t base = 64 * word, stop = min64(64, a.n - base), words = (a.n + 63) / 64;
  const O one = a.party == 0;
  O sums[kRows][64];
  for (int k = 0; k < kRows; ++k) {
    const O *off = static_cast<const O*>(a.a) + (k - 1) * a.n + base, first = a.party == 0 ? O(a.base[k]) : O(0);
    for (int64_t j = 0; j < stop; ++j) sums[k][j] = k ? first - off[j] : first;
  }
  for (int64_t knot = 0; knot < a.knots; ++knot) {
    const uint64_t bits = a.v[knot * words + word];
    const O* u = static_cast<const O*>(a.u) + knot * a.n + base;
    O rise[kRows];
    for (int k = 0; k < kRows; ++k) rise[k] = O(a.rises[k * a.knots + knot]);
#pragma omp simd
    for (int64_t j = 0; j < stop; ++j) {
      const O v = O(0) - O(bits >> j & 1);
      const O b = (v & one) + ((u[j] ^ v) - v);
      for (int k = 0; k < kRows; ++k) sums[k][j] += rise[k] * b;
    }
  }
  for (int k = 0; k < kRows; ++k) {
    O* out = static_cast<O*>(a.out) + k * a.n + base;
    for (int64_t j = 0; j < stop; ++j) out[j] = sums[k][j];
  }
}

typedef void (*SplineSumsRun)(const SplineSumsArgs&, int64_t);

static void spline_sums(const SplineSumsArgs& a, int threads) {
  const SplineSumsRun runs[2][2] = {{spline_sums_run<uint32_t, 2>, spline_sums_run<uint32_t, 3>},
                                    {spline_sums_run<uint64_t, 2>, spline_sums_run<uint64_t, 3>}};
  const SplineSumsRun run = runs[a.out_bytes == 8][a.rows == 3];
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t word = 0; word < (a.n + 63) / 64; ++word) run(a, word);
}

// With A and D the rows of sums less a and what is opened of them (mine and theirs), x = mx - rx:
//   A0 + mx A1 - D1 rx - [a1 rx]  +  mx (mx A2 - 2 (D2 rx + [a2 rx])) + D2 [rx^2] + [a2 rx^2]
template <class M, class O, bool kBends>
static void spline_close_run(const SplineCloseArgs& a, int64_t begin, int64_t end) {
  const int t = a.shift;
  const int64_t n = a.n;
  const M* m = static_cast<const M*>(a.m);
  const O *sums = static_cast<const O*>(a.sums), *theirs = static_cast<const O*>(a.theirs),
          *off = static_cast<const O*>(a.a), *sub = static_cast<const O*>(a.sub);
  const O *alpha = static_cast<const O*>(a.alpha), *beta = static_cast<const O*>(a.beta),
          *alpha2 = static_cast<const O*>(a.alpha2), *ab = static_cast<const O*>(a.ab);
  const O *a_alpha = static_cast<const O*>(a.a_alpha), *a_beta = static_cast<const O*>(a.a_beta),
          *a_alpha2 = static_cast<const O*>(a.a_alpha2), *a_ab = static_cast<const O*>(a.a_ab);
  O* out = static_cast<O*>(a.out);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const Truncated<M, O> x(m[i], t);
    const O rx = alpha[i] - (x.mu & beta[i]);
    O y = sums[i] + x.mx * (sums[n + i] + off[i]) - (sums[n + i] + theirs[i]) * rx - a_alpha[i] + (x.mu & a_beta[i]);
    if (kBends) {
      const O d = sums[2 * n + i] + theirs[n + i], r2 = alpha2[i] - (x.mu & ab[i]);
      const O cross = d * rx + a_alpha[n + i] - (x.mu & a_beta[n + i]);
      y += x.mx * (x.mx * (sums[2 * n + i] + off[n + i]) - 2 * cross) + d * r2 + a_alpha2[i] - (x.mu & a_ab[i]);
    }
    out[i] = y;
  }
  if (sub)
    for (int64_t i = begin; i < end; ++i) out[i] -= sub[i];
}

typedef void (*SplineCloseRun)(const SplineCloseArgs&, int64_t, int64_t);

static void spline_close(const SplineCloseArgs& a, int threads) {
  enum { kChunk = 2048 };
  const auto run = by_widths(a.m_bytes, a.out_bytes, a.out_bytes, [&](auto of) -> SplineCloseRun {
    using W = decltype(of);
    return a.alpha2 ? spline_close_run<typename W::M, typename W::O, true>
                    : spline_close_run<typename W::M, typename W::O, false>;
  });
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) run(a, c * kChunk, min64((c + 1) * kChunk, a.n));
}

}  // namespace AR_TIER
}  // namespace autorep
