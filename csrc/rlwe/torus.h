// Residues as a fraction of q, and back: what is rounded, sent and shared is X / q modulo 1, in binary.
//
// X / q = sum_j y_j / p_j modulo 1 with y_j = X (q / p_j)^-1 modulo p_j, which the inverse transform gives (kScaleCrt).
#pragma once
#include "rlwe/lanes.h"

namespace autorep {
namespace AR_TIER {

typedef unsigned __int128 U128;

// X / q in units of 2^-64, off by less than 0.6: the quotients 2^64 / p_j have 32 more bits. They are copied out of the
// tables: a compiler cannot know that what is written meanwhile is none of them.
struct Torus64 {
  uint64_t whole[3], part[3];
  int64_t n;

  AR_INLINE_MEMBER explicit Torus64(const RlweTables& t) : n(t.degree) {
    for (int k = 0; k < 3; ++k) whole[k] = t.prime[k].whole, part[k] = t.prime[k].part;
  }
  AR_INLINE_MEMBER uint64_t operator()(const uint32_t* y, int64_t j) const {
    uint64_t sum = 0, below = uint64_t(1) << 31;
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) sum += y[k * n + j] * whole[k], below += y[k * n + j] * part[k];
    return sum + (below >> 32);
  }
};

// The same in units of 2^-128.
AR_INLINE U128 torus128(const RlweTables& t, const uint32_t* y, int64_t j) {
  U128 sum = 0;
  uint64_t part = uint64_t(1) << 31;
  for (int k = 0; k < t.limbs; ++k) {
    const uint64_t a = y[k * t.degree + j];
    sum += U128(a) * t.prime[k].torus_low + (U128(a * t.prime[k].torus_high) << 64);
    part += a * t.prime[k].torus_part;
  }
  return sum + (part >> 32);
}

// What stands for X becomes what stands for X + e, small.
static void add_small(const RlwePrime& r, int64_t n, const int8_t* e, uint32_t* y) {
  for (int64_t j = 0; j < n; ++j) {
    const uint32_t a = uint32_t(int32_t(e[j])) + (r.p & -(uint32_t(int32_t(e[j])) >> 31));
    y[j] = least4(y[j] + times1(a, r.crt, r.p), r.p);
  }
}

// What a message holds of X / q: the bits that a ring element has, and `low_words` words below them; each array's
// polynomials lie one behind the other.
struct Message {
  const void* high;
  const uint32_t* low;
  int low_words;
};

// Digit d, 32 bits, of as many ring elements as a vector has lanes.
AR_INLINE U32 ring_digit(const uint32_t* high, int) { return load<U32>(high); }
AR_INLINE U32 ring_digit(const uint64_t* high, int d) {
  uint32_t digits[kRlweLanes];
  for (int64_t j = 0; j < kRlweLanes; ++j) digits[j] = uint32_t(high[j] >> 32 * d);
  return load<U32>(digits);
}

// round(X) modulo one prime, below 2 p, for coefficient j of polynomial i: sum over the 32-bit digits v_d of X / q of
// floor(v_d q / 2^(32 (digits - d))), which is below q X by less than twice the number of digits.
template <class Ring>
static void from_torus(const RlweTables& t, const Message& m, int64_t i, int limb, uint32_t* out) {
  const RlwePrime& r = t.prime[limb];
  const U32 p = splat(r.p);
  const int64_t n = t.degree;
  const int extra = m.low_words - 1, ring_words = int(sizeof(Ring) / 4);
  const Ring* high = (const Ring*)m.high + i * n;
  const uint32_t* low = m.low + i * n * m.low_words;
  for (int64_t j = 0; j < n; j += kRlweLanes) {
    U32 sum = {};
    for (int d = 0; d < m.low_words + ring_words; ++d) {
      U32 digit;
      if (d < m.low_words) digit = load<U32>(low + (m.low_words - 1 - d) * n + j);
      else digit = ring_digit(high + j, d - m.low_words);
      const U32 carry = high_product(digit, splat(t.fraction[extra][d]));
      sum += times(digit, r.digit[extra][d], p);
      sum += times(carry, r.one, p);  // together below 4 p for a digit, of which there are at most 4
    }
    store(out + j, times(sum, r.one, p));
  }
}

}  // namespace AR_TIER
}  // namespace autorep
