// ReLU on a masked wire by comparison key (variant fss): windows, the dealer's numbers, evaluation and merge.
//
// A window is the k bits of a masked value or a mask that matter: (v >> t) mod 2^k, low bits l and top bit h.
#pragma once
#include "compare/dcf_eval.h"
#include "cpu/kernels.h"

namespace autorep {
namespace AR_TIER {

// out[row, j] = (v[row, keep[j]] >> shift) mod 2^bits
template <class V>
static void window_typed(const WindowArgs& a, int threads) {
  const uint64_t mask = a.bits == 64 ? ~uint64_t(0) : (uint64_t(1) << a.bits) - 1;
  const int shift = a.shift;
  enum { kChunk = 16384 };
  const int64_t chunks = (a.kept + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.batch * chunks; ++task) {
    const int64_t row = task / chunks, begin = task % chunks * kChunk, end = min64(begin + kChunk, a.kept);
    const V* v = static_cast<const V*>(a.v) + row * a.positions;
    uint64_t* out = a.out + row * a.kept;
    if (a.keep) {
      for (int64_t j = begin; j < end; ++j) out[j] = uint64_t(v[a.keep[j]] >> shift) & mask;
    } else {
      for (int64_t j = begin; j < end; ++j) out[j] = uint64_t(v[j] >> shift) & mask;
    }
  }
}

static void window(const WindowArgs& a, int threads) {
  a.v_bytes == 4 ? window_typed<uint32_t>(a, threads) : window_typed<uint64_t>(a, threads);
}

// From the mask's window: alpha = rl; payload = (sigma, sigma r0, 1) with sigma = 2 rh - 1, r0 = rl - rh 2^(k-1); and
// (rh, rl, rh rl), of which `shares` holds one party's share and becomes the other's. In the ring of the shares.
template <class O>
static void deal_relu_typed(const DealReluArgs& a, int threads) {
  const int top = a.bits - 1;
  const uint64_t low = (uint64_t(1) << top) - 1;
  O *payload = static_cast<O*>(a.payload), *shares = static_cast<O*>(a.shares);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < a.n; ++i) {
    const uint64_t rl = a.window[i] & low, rh = a.window[i] >> top & 1, sigma = 2 * rh - 1;
    a.alpha[i] = rl;
    payload[3 * i] = O(sigma);
    payload[3 * i + 1] = O(sigma * (rl - (rh << top)));
    payload[3 * i + 2] = 1;
    shares[3 * i] = O(rh) - shares[3 * i];
    shares[3 * i + 1] = O(rl) - shares[3 * i + 1];
    shares[3 * i + 2] = O(rl & (0 - rh)) - shares[3 * i + 2];
  }
}

static void deal_relu(const DealReluArgs& a, int threads) {
  a.share_bytes == 4 ? deal_relu_typed<uint32_t>(a, threads) : deal_relu_typed<uint64_t>(a, threads);
}

// mh = 0:  (1 - rh) ml - (rl - rh rl) + P1 ml - P2
// mh = 1:  rh ml - rh rl - P1 ml + P2 + P3 2^(k-1)
// x: the window's low `top` bits; window: all of it. s: rh, rl, rh rl. one: 1 where the public terms are added.
template <class O>
AR_INLINE O relu_merged(uint64_t window, uint64_t x, int top, O one, O h, O l, O hl, O p1, O p2, O p3) {
  const O ml = O(x), v0 = (one - h + p1) * ml - l + hl - p2, v1 = (h - p1) * ml - hl + p2 + O(p3 << top);
  const O mh = O(0) - O(window >> top & 1);
  return (v1 & mh) | (v0 & ~mh);
}

template <class O>
static void relu_fss_typed(const ReluArgs& a, int threads) {
  enum { kChunk = 1024 };  // 128 elements are a whole group on every tier
  const int top = a.eval.layout->bits;
  const uint64_t low = (uint64_t(1) << top) - 1;
  const O one = a.eval.party == 0;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.eval.n + kChunk - 1) / kChunk; ++c) {
    const int64_t first = c * kChunk, n = min64(kChunk, a.eval.n - first);
    uint64_t x[kChunk];
    O p[3 * kChunk];
    for (int64_t i = 0; i < n; ++i) x[i] = a.eval.x[first + i] & low;
    DcfEvalArgs part = a.eval;
    part.x = x, part.out = p, part.n = n, part.first = first, part.roots = a.eval.roots + 2 * first;
    eval_all<O, 3>(part, 1);
    const uint64_t* m = a.eval.x + first;
    const O* s = static_cast<const O*>(a.shares) + 3 * first;
    O* out = static_cast<O*>(a.eval.out) + first;
    for (int64_t i = 0; i < n; ++i) {
      const O *si = s + 3 * i, *pi = p + 3 * i;
      out[i] = relu_merged<O>(m[i], x[i], top, one, si[0], si[1], si[2], pi[0], pi[1], pi[2]);
    }
  }
}

// The same of a key whose second three payloads are tags of the first three, and of their tags: at party 1 those that
// it has; at party 0, which has `key`, their local parts, key P - P'. To the latter nobody adds public terms. All is
// made in 64 bits; the value is as wide as its shares (O).
template <class O>
static void relu_checked_typed(const ReluCheckedArgs& a, int threads) {
  enum { kChunk = 512 };
  const int top = a.eval.layout->bits;
  const uint64_t low = (uint64_t(1) << top) - 1, one = a.eval.party == 0, key = a.key;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.eval.n + kChunk - 1) / kChunk; ++c) {
    const int64_t first = c * kChunk, n = min64(kChunk, a.eval.n - first);
    uint64_t x[kChunk], p[6 * kChunk];
    for (int64_t i = 0; i < n; ++i) x[i] = a.eval.x[first + i] & low;
    DcfEvalArgs part = a.eval;
    part.x = x, part.out = p, part.n = n, part.first = first, part.roots = a.eval.roots + 2 * first;
    eval_all<uint64_t, 6>(part, 1);
    const uint64_t *m = a.eval.x + first, *t = a.tags + 3 * first;
    const O* s = static_cast<const O*>(a.shares) + 3 * first;
    O* value = static_cast<O*>(a.value) + first;
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t* q = p + 6 * i;
      value[i] = O(relu_merged<uint64_t>(m[i], x[i], top, one, s[3 * i], s[3 * i + 1], s[3 * i + 2], q[0], q[1], q[2]));
      uint64_t tag[3];
      for (int j = 0; j < 3; ++j) tag[j] = one ? key * q[j] - q[3 + j] : q[3 + j];
      a.tag[first + i] =
          relu_merged<uint64_t>(m[i], x[i], top, 0, t[3 * i], t[3 * i + 1], t[3 * i + 2], tag[0], tag[1], tag[2]);
    }
  }
}

static void relu_checked(const ReluCheckedArgs& a, int threads) {
  a.value_bytes == 4 ? relu_checked_typed<uint32_t>(a, threads) : relu_checked_typed<uint64_t>(a, threads);
}

static void relu_fss(const ReluArgs& a, int threads) {
  a.eval.layout->word_bytes == 4 ? relu_fss_typed<uint32_t>(a, threads) : relu_fss_typed<uint64_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
