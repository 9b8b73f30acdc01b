// The activation on a masked wire: from the public masked value and this party's shares to its share of the hybrid
// activation, with the next blinding, in one pass over memory.
//
//   m' = m + 2^62, mx = (m' >> t) - 2^(62-t), mu = 1 - msb(m')
//   rx = alpha - mu * beta                                 share of the truncated mask
//   identity: z = [party 0] mx - rx                        << align
//   square:   z = [party 0] mx^2 - 2 mx rx + alpha2 - mu * ab
//   kept:     z = relu                                     << align
//   out = z + add - sub
//
// with beta = msb(r) 2^(64-t), ab = 2 alpha beta - beta^2. For t <= 32 both are multiples of 2^32 (beta^2 is 0), and
// their high halves are enough: 32-bit arrays.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

AR_INLINE uint64_t full(uint32_t high) { return uint64_t(high) << 32; }
AR_INLINE uint64_t full(uint64_t all) { return all; }

// B: uint32_t for high halves, or uint64_t. kForm: 0 identity everywhere, 1 square everywhere, 2 by `linear`. Positions
// [begin, end) of one sample.
template <class B, int kForm, bool kAdd, bool kSub>
static void activation_run(const ActivationArgs& a, int64_t row, int64_t begin, int64_t end) {
  const int64_t at = row * a.positions;
  const uint64_t *m = a.m + at, *alpha = a.alpha + at, *alpha2 = kForm ? a.alpha2 + at : nullptr;
  const B *beta = static_cast<const B*>(a.beta) + at, *ab = kForm ? static_cast<const B*>(a.ab) + at : nullptr;
  const uint64_t *add = kAdd ? a.add + at : nullptr, *sub = kSub ? a.sub + at : nullptr;
  const uint8_t* linear = a.linear;
  uint64_t* out = a.out + at;
  const int t = a.shift, align = a.align;
  const uint64_t half = uint64_t(1) << 62, center = uint64_t(1) << (62 - t);
  const uint64_t mine = a.party == 0 ? ~uint64_t(0) : 0;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t mp = m[i] + half;
    const uint64_t mx = (mp >> t) - center;
    const uint64_t mu = ~uint64_t(int64_t(mp) >> 63);  // as a mask
    const uint64_t rx = alpha[i] - (mu & full(beta[i]));
    uint64_t z = ((mx & mine) - rx) << align;
    if (kForm) {
      const uint64_t square = mx * ((mx & mine) - 2 * rx) + alpha2[i] - (mu & full(ab[i]));
      if (kForm == 1) z = square;
      else {
        const uint64_t pick = 0 - uint64_t(linear[i]);
        z = (z & pick) | (square & ~pick);
      }
    }
    if (kAdd) z += add[i];
    if (kSub) z -= sub[i];
    out[i] = z;
  }
}

typedef void (*ActivationRun)(const ActivationArgs&, int64_t, int64_t, int64_t);

template <class B, int kForm>
AR_INLINE ActivationRun activation_pick(bool add, bool sub) {
  if (add) return sub ? activation_run<B, kForm, true, true> : activation_run<B, kForm, true, false>;
  return sub ? activation_run<B, kForm, false, true> : activation_run<B, kForm, false, false>;
}

// First entry of keep[0..kept) that is not below `position`. The mask is public.
AR_INLINE int64_t lower_bound(const int64_t* keep, int64_t kept, int64_t position) {
  int64_t low = 0, high = kept;
  while (low < high) {
    const int64_t mid = (low + high) / 2;
    if (keep[mid] < position) low = mid + 1;
    else high = mid;
  }
  return low;
}

template <class B>
AR_INLINE ActivationRun activation_form(const ActivationArgs& a) {
  if (!a.alpha2) return activation_pick<B, 0>(a.add, a.sub);
  return a.linear ? activation_pick<B, 2>(a.add, a.sub) : activation_pick<B, 1>(a.add, a.sub);
}

static void activation_step(const ActivationArgs& a, int threads) {
  const ActivationRun run = !a.alpha            ? nullptr
                            : a.beta_bytes == 4 ? activation_form<uint32_t>(a)
                                                : activation_form<uint64_t>(a);
  enum { kChunk = 4096 };
  const int64_t chunks = (a.positions + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.batch * chunks; ++task) {
    const int64_t row = task / chunks, begin = task % chunks * kChunk, end = min64(begin + kChunk, a.positions);
    if (run) run(a, row, begin, end);
    // The kept positions of this stretch, while it is in the first-level cache.
    const int64_t at = row * a.positions;
    for (int64_t k = lower_bound(a.keep, a.kept, begin); k < a.kept && a.keep[k] < end; ++k) {
      const int64_t i = at + a.keep[k];
      a.out[i] = (a.relu[row * a.kept + k] << a.align) + (a.add ? a.add[i] : 0) - (a.sub ? a.sub[i] : 0);
    }
  }
}

// The dealer's side: each array holds one party's share and becomes the other's.
template <class B, bool kPowers>
static void deal_powers_run(const DealPowersArgs& a, int64_t begin, int64_t end) {
  // Of beta and ab, only what B stores is computed: beta 2^-32 where B is short.
  const int t = a.shift, up = (sizeof(B) == 4 ? 32 : 64) - t;
  const uint64_t on = t ? 1 : 0;  // 2^64 is zero
  B *betas = static_cast<B*>(a.beta), *abs = static_cast<B*>(a.ab);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t r = a.r[i], alpha = r >> t, beta = on ? (r >> 63) << (up & 63) : 0;
    a.alpha[i] = alpha - a.alpha[i];
    betas[i] = B(beta) - betas[i];
    if (kPowers) {
      a.alpha2[i] = alpha * alpha - a.alpha2[i];
      abs[i] = B(2 * alpha * beta - (sizeof(B) == 8 ? beta * beta : 0)) - abs[i];
    }
  }
}

static void deal_powers(const DealPowersArgs& a, int threads) {
  enum { kChunk = 8192 };
  void (*run)(const DealPowersArgs&, int64_t, int64_t) =
      a.beta_bytes == 4 ? (a.alpha2 ? deal_powers_run<uint32_t, true> : deal_powers_run<uint32_t, false>)
                        : (a.alpha2 ? deal_powers_run<uint64_t, true> : deal_powers_run<uint64_t, false>);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) run(a, c * kChunk, min64((c + 1) * kChunk, a.n));
}

}  // namespace AR_TIER
}  // namespace autorep
