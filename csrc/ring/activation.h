// The activation on a masked wire: from the public masked value and this party's shares to its share of the hybrid
// activation, with the next blinding, in one pass over memory.
//
//   m' = m + 2^(w-2), mx = (m' >> t) - 2^(w-2-t), mu = 1 - msb(m')
//   rx = alpha - mu * beta                                 share of the truncated mask
//   identity: z = [party 0] mx - rx                        << align
//   square:   z = [party 0] mx^2 - 2 mx rx + alpha2 - mu * ab
//   kept:     z = relu                                     << align
//   out = z - sub
//
// with beta = msb(r) 2^(w-t), ab = 2 alpha beta - beta^2. The wire has w bits (M: 32 or 64), the result has as many as
// its shares (O: 32 or 64): truncation holds over the integers, so either goes with either. Where both have w bits and
// t <= w / 2, beta and ab are multiples of 2^(w/2) (beta^2 is 0), and their high halves are enough (B).
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

// A share as it is stored, whole in the ring of the result.
template <class O, class B>
AR_INLINE O full(B stored) {
  return O(uint64_t(stored) << (8 * (sizeof(O) - sizeof(B))));
}

// The public part of a truncated value, and mu as a mask.
template <class M, class O>
struct Truncated {
  O mx, mu;

  AR_INLINE_MEMBER Truncated(M m, int t) {
    const M mp = m + (M(1) << (8 * sizeof(M) - 2));
    mx = O(M(mp >> t)) - O(M(M(1) << (8 * sizeof(M) - 2 - t)));
    mu = O(M(mp >> (8 * sizeof(M) - 1))) - 1;
  }
};

// kForm: 0 identity everywhere, 1 square everywhere, 2 by `linear`. Positions [begin, end) of one sample.
template <class M, class O, class B, int kForm, bool kSub>
static void activation_run(const ActivationArgs& a, int64_t row, int64_t begin, int64_t end) {
  const int64_t at = row * a.positions;
  const M* m = static_cast<const M*>(a.m) + at;
  const O *alpha = static_cast<const O*>(a.alpha) + at,
          *alpha2 = kForm ? static_cast<const O*>(a.alpha2) + at : nullptr;
  const B *beta = static_cast<const B*>(a.beta) + at, *ab = kForm ? static_cast<const B*>(a.ab) + at : nullptr;
  const O* sub = kSub ? static_cast<const O*>(a.sub) + at : nullptr;
  const uint8_t* linear = a.linear;
  O* out = static_cast<O*>(a.out) + at;
  const int t = a.shift, align = a.align;
  const O mine = a.party == 0 ? ~O(0) : O(0);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const Truncated<M, O> x(m[i], t);
    const O rx = alpha[i] - (x.mu & full<O>(beta[i]));
    O z = align < int(8 * sizeof(O)) ? O(O((x.mx & mine) - rx) << align) : O(0);
    if (kForm) {
      const O square = x.mx * ((x.mx & mine) - 2 * rx) + alpha2[i] - (x.mu & full<O>(ab[i]));
      if (kForm == 1) z = square;
      else {
        const O pick = O(0) - O(linear[i]);
        z = (z & pick) | (square & ~pick);
      }
    }
    if (kSub) z -= sub[i];
    out[i] = z;
  }
}

typedef void (*ActivationRun)(const ActivationArgs&, int64_t, int64_t, int64_t);

template <class M, class O, class B, int kForm>
AR_INLINE ActivationRun activation_pick(bool sub) {
  return sub ? activation_run<M, O, B, kForm, true> : activation_run<M, O, B, kForm, false>;
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

// Of a wire of w bits (M), of what is shared of it (O), and of beta (B), by bytes: `pick` for one of their types.
template <class M_, class O_, class B_>
struct Widths {
  typedef M_ M;
  typedef O_ O;
  typedef B_ B;
};

template <class Pick>
AR_INLINE auto by_widths(int wire_bytes, int share_bytes, int beta_bytes, Pick pick) {
  if (wire_bytes == 4) {
    if (share_bytes == 8) return pick(Widths<uint32_t, uint64_t, uint64_t>{});
    if (beta_bytes == 2) return pick(Widths<uint32_t, uint32_t, uint16_t>{});
    return pick(Widths<uint32_t, uint32_t, uint32_t>{});
  }
  if (share_bytes == 4) return pick(Widths<uint64_t, uint32_t, uint32_t>{});
  return beta_bytes == 4 ? pick(Widths<uint64_t, uint64_t, uint32_t>{}) : pick(Widths<uint64_t, uint64_t, uint64_t>{});
}

AR_INLINE ActivationRun activation_widths(const ActivationArgs& a) {
  return by_widths(a.m_bytes, a.out_bytes, a.beta_bytes, [&](auto of) {
    using W = decltype(of);
    if (!a.alpha2) return activation_pick<typename W::M, typename W::O, typename W::B, 0>(a.sub);
    return a.linear ? activation_pick<typename W::M, typename W::O, typename W::B, 2>(a.sub)
                    : activation_pick<typename W::M, typename W::O, typename W::B, 1>(a.sub);
  });
}

// The kept positions of a stretch, while it is in the first-level cache.
template <class O>
AR_INLINE void activation_kept(const ActivationArgs& a, int64_t row, int64_t begin, int64_t end) {
  const int64_t at = row * a.positions;
  const O *relu = static_cast<const O*>(a.relu) + row * a.kept, *sub = static_cast<const O*>(a.sub);
  const auto put = [&](int64_t k, int64_t i) {
    const O value = a.align < int(8 * sizeof(O)) ? O(relu[k] << a.align) : O(0);
    static_cast<O*>(a.out)[i] = value - (sub ? sub[i] : 0);
  };
  if (a.kept == a.positions) {
    for (int64_t k = begin; k < end; ++k) put(k, at + k);
    return;
  }
  for (int64_t k = lower_bound(a.keep, a.kept, begin); k < a.kept && a.keep[k] < end; ++k) put(k, at + a.keep[k]);
}

static void activation_step(const ActivationArgs& a, int threads) {
  const ActivationRun run = a.alpha ? activation_widths(a) : nullptr;
  enum { kChunk = 4096 };
  const int64_t chunks = (a.positions + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.batch * chunks; ++task) {
    const int64_t row = task / chunks, begin = task % chunks * kChunk, end = min64(begin + kChunk, a.positions);
    if (run && a.kept < a.positions) run(a, row, begin, end);
    if (!a.kept) continue;
    if (a.out_bytes == 4) activation_kept<uint32_t>(a, row, begin, end);
    else activation_kept<uint64_t>(a, row, begin, end);
  }
}

// The truncated mask: alpha, and beta 2^-down, of which a caller keeps as many bits as it stores.
template <class M>
struct TruncatedMask {
  uint64_t alpha, beta;

  AR_INLINE_MEMBER TruncatedMask(M r, int t, int down) {
    const int up = 8 * int(sizeof(M)) - t - (t ? down : 0);  // without a shift 2^w: zero, or beyond a stored half
    alpha = r >> t;
    beta = up < 64 ? uint64_t(r >> (8 * sizeof(M) - 1)) << (up & 63) : 0;
  }
};

// The dealer's side: each array holds one party's share and becomes the other's.
template <class M, class O, class B, bool kPowers>
static void deal_powers_run(const DealPowersArgs& a, int64_t begin, int64_t end) {
  // Of beta and ab, only what B stores is computed.
  const int t = a.shift, down = 8 * int(sizeof(O) - sizeof(B));
  const M* r = static_cast<const M*>(a.r);
  O *alphas = static_cast<O*>(a.alpha), *alphas2 = static_cast<O*>(a.alpha2);
  B *betas = static_cast<B*>(a.beta), *abs = static_cast<B*>(a.ab);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const TruncatedMask<M> x(r[i], t, down);
    alphas[i] = O(x.alpha) - alphas[i];
    betas[i] = B(x.beta) - betas[i];
    if (kPowers) {
      alphas2[i] = O(x.alpha * x.alpha) - alphas2[i];
      abs[i] = B(2 * x.alpha * x.beta - (down ? 0 : x.beta * x.beta)) - abs[i];
    }
  }
}

typedef void (*DealPowersRun)(const DealPowersArgs&, int64_t, int64_t);

static void deal_powers(const DealPowersArgs& a, int threads) {
  enum { kChunk = 8192 };
  const auto run = by_widths(a.r_bytes, a.share_bytes, a.beta_bytes, [&](auto of) -> DealPowersRun {
    using W = decltype(of);
    return a.alpha2 ? deal_powers_run<typename W::M, typename W::O, typename W::B, true>
                    : deal_powers_run<typename W::M, typename W::O, typename W::B, false>;
  });
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) run(a, c * kChunk, min64((c + 1) * kChunk, a.n));
}

}  // namespace AR_TIER
}  // namespace autorep
