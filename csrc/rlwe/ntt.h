// The negacyclic number-theoretic transform: polynomials modulo X^n + 1 to their values at the roots, and back.
//
// Forward by decimation in time with the powers of the root merged in (Longa, Naehrig, "Speeding up the number
// theoretic transform", CANS 2016), values in bit-reversed order; back by decimation in frequency. Stages whose stride
// is a vector or more work on whole vectors, two stages a pass; the others within a pair of vectors, exchanging halves,
// quarters and so on of their lanes on the way. Which memory is touched depends on the degree alone.
#pragma once
#include "rlwe/lanes.h"

namespace autorep {
namespace AR_TIER {

#if defined(AR_AVX512)

// Lane l of x and lane l - t of y change places, for each l with bit t.
AR_INLINE void exchange(U32& x, U32& y, int64_t t) {
  const __m512i a = (__m512i)x, b = (__m512i)y;
  if (t == 8) {
    x = (U32)_mm512_shuffle_i64x2(a, b, 0x44), y = (U32)_mm512_shuffle_i64x2(a, b, 0xee);
  } else if (t == 4) {
    x = (U32)_mm512_mask_shuffle_i64x2(a, 0xcc, b, b, 0x80), y = (U32)_mm512_mask_shuffle_i64x2(b, 0x33, a, a, 0x31);
  } else if (t == 2) {
    x = (U32)_mm512_unpacklo_epi64(a, b), y = (U32)_mm512_unpackhi_epi64(a, b);
  } else {
    x = (U32)_mm512_mask_blend_epi32(0xaaaa, a, _mm512_slli_epi64(b, 32));
    y = (U32)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(a, 32), b);
  }
}

// x and y, lane by lane, become neighbours; and back.
AR_INLINE void interleave(U32& x, U32& y) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const __m512i a = (__m512i)x, b = (__m512i)y;
  x = (U32)_mm512_permutex2var_epi32(a, low, b), y = (U32)_mm512_permutex2var_epi32(a, high, b);
}
AR_INLINE void separate(U32& x, U32& y) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  const __m512i a = (__m512i)x, b = (__m512i)y;
  x = (U32)_mm512_permutex2var_epi32(a, even, b), y = (U32)_mm512_permutex2var_epi32(a, odd, b);
}

#elif defined(AR_AVX2)

AR_INLINE void exchange(U32& x, U32& y, int64_t t) {
  const __m256i a = (__m256i)x, b = (__m256i)y;
  if (t == 4) {
    x = (U32)_mm256_permute2x128_si256(a, b, 0x20), y = (U32)_mm256_permute2x128_si256(a, b, 0x31);
  } else if (t == 2) {
    x = (U32)_mm256_unpacklo_epi64(a, b), y = (U32)_mm256_unpackhi_epi64(a, b);
  } else {
    x = (U32)_mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa);
    y = (U32)_mm256_blend_epi32(_mm256_srli_epi64(a, 32), b, 0xaa);
  }
}
AR_INLINE void interleave(U32& x, U32& y) {
  const __m256i low = _mm256_unpacklo_epi32((__m256i)x, (__m256i)y),
                high = _mm256_unpackhi_epi32((__m256i)x, (__m256i)y);
  x = (U32)_mm256_permute2x128_si256(low, high, 0x20), y = (U32)_mm256_permute2x128_si256(low, high, 0x31);
}
AR_INLINE void separate(U32& x, U32& y) {
  const __m256 a = (__m256)x, b = (__m256)y;
  x = (U32)_mm256_permute4x64_epi64((__m256i)_mm256_shuffle_ps(a, b, 0x88), 0xd8);
  y = (U32)_mm256_permute4x64_epi64((__m256i)_mm256_shuffle_ps(a, b, 0xdd), 0xd8);
}

#else  // no stage is within a vector of one number

AR_INLINE void exchange(U32&, U32&, int64_t) {}
AR_INLINE void interleave(U32&, U32&) {}
AR_INLINE void separate(U32&, U32&) {}

#endif

struct Power {
  U32 w, shoup;
};
AR_INLINE Power power_of(const uint32_t* powers, int64_t n, int64_t i) {
  return {splat(powers[i]), splat(powers[n + i])};
}

// x + w y and x - w y. Each grows by 2 p: 13 stages stay below 32 p.
AR_INLINE void combine(U32& x, U32& y, Power w, U32 p) {
  const U32 t = times(y, w.w, w.shoup, p);
  y = x - t + (p + p), x = x + t;
}

// x + y and (x - y) w, both below 2 p as x and y are.
AR_INLINE void part(U32& x, U32& y, Power w, U32 p) {
  const U32 sum = x + y, p2 = p + p;
  y = times(x - y + p2, w.w, w.shoup, p), x = smaller(sum, sum - p2);
}

// The stages on whole vectors, until parts of `least` numbers are left: two at a time, on numbers below 6 p.
AR_INLINE void first_stages(const RlwePrime& r, int64_t n, int64_t least, uint32_t* a) {
  const U32 p = splat(r.p);
  const int64_t L = kRlweLanes;
  int64_t m = 1, block = n;
  bool odd = false;
  for (int64_t i = n; i > least; i >>= 1) odd = !odd;
  if (odd) {
    const Power w = power_of(r.forward, n, 1);
    block = n / 2, m = 2;
    for (int64_t j = 0; j < block; j += L) {
      U32 x = load<U32>(a + j), y = load<U32>(a + j + block);
      combine(x, y, w, p);
      store(a + j, x), store(a + j + block, y);
    }
  }
  for (; block > least; m *= 4, block /= 4) {
    const int64_t q = block / 4;
    for (int64_t i = 0; i < m; ++i) {
      uint32_t* b = a + i * block;
      const Power w0 = power_of(r.forward, n, m + i);
      const Power w1 = power_of(r.forward, n, 2 * (m + i)), w2 = power_of(r.forward, n, 2 * (m + i) + 1);
      for (int64_t j = 0; j < q; j += L) {
        U32 x0 = load<U32>(b + j), x1 = load<U32>(b + j + q), x2 = load<U32>(b + j + 2 * q),
            x3 = load<U32>(b + j + 3 * q);
        combine(x0, x2, w0, p), combine(x1, x3, w0, p);
        combine(x0, x1, w1, p), combine(x2, x3, w2, p);
        store(b + j, x0), store(b + j + q, x1), store(b + j + 2 * q, x2), store(b + j + 3 * q, x3);
      }
    }
  }
}

// In place, from numbers below 6 p to numbers below p.
static void forward(const RlwePrime& r, int64_t n, uint32_t* a) {
  const U32 p = splat(r.p);
  const int64_t L = kRlweLanes;
  first_stages(r, n, L, a);
  if (L == 1) {
    for (int64_t j = 0; j < n; ++j) store(a + j, reduced(load<U32>(a + j), r));
    return;
  }
  const uint32_t* lanes = r.forward_lanes;
  for (int64_t j = 0; j < n; j += 2 * L) {
    U32 x = load<U32>(a + j), y = load<U32>(a + j + L);
#pragma GCC unroll 4
    for (int64_t t = L / 2; t; t /= 2, lanes += 2 * L) {
      exchange(x, y, t);
      combine(x, y, {load<U32>(lanes), load<U32>(lanes + L)}, p);
    }
    interleave(x, y);
    store(a + j, reduced(x, r)), store(a + j + L, reduced(y, r));
  }
}

// In place, from numbers below 2 p to numbers below p, times a scale.
static void inverse(const RlwePrime& r, int64_t n, RlweScale scale, uint32_t* a) {
  const U32 p = splat(r.p), p2 = p + p;
  const int64_t L = kRlweLanes;
  const uint32_t* lanes = r.inverse_lanes;
  if (L > 1)
    for (int64_t j = 0; j < n; j += 2 * L) {
      U32 x = load<U32>(a + j), y = load<U32>(a + j + L);
      separate(x, y);
#pragma GCC unroll 4
      for (int64_t t = 1; t < L; t *= 2, lanes += 2 * L) {
        part(x, y, {load<U32>(lanes), load<U32>(lanes + L)}, p);
        exchange(x, y, t);
      }
      store(a + j, x), store(a + j + L, y);
    }
  int64_t q = L, m = n / L;  // m blocks of q numbers each are done
  bool odd = false;
  for (int64_t i = m; i > 1; i >>= 1) odd = !odd;
  if (odd) {
    m /= 2;
    for (int64_t i = 0; i < m; ++i) {
      const Power w = power_of(r.inverse, n, m + i);
      uint32_t* b = a + 2 * i * q;
      for (int64_t j = 0; j < q; j += L) {
        U32 x = load<U32>(b + j), y = load<U32>(b + j + q);
        part(x, y, w, p);
        store(b + j, x), store(b + j + q, y);
      }
    }
    q *= 2;
  }
  for (; m > 4; q *= 4) {
    m /= 4;
    for (int64_t i = 0; i < m; ++i) {
      uint32_t* b = a + 4 * i * q;
      const Power w0 = power_of(r.inverse, n, m + i);
      const Power w1 = power_of(r.inverse, n, 2 * (m + i)), w2 = power_of(r.inverse, n, 2 * (m + i) + 1);
      for (int64_t j = 0; j < q; j += L) {
        U32 x0 = load<U32>(b + j), x1 = load<U32>(b + j + q), x2 = load<U32>(b + j + 2 * q),
            x3 = load<U32>(b + j + 3 * q);
        part(x0, x1, w1, p), part(x2, x3, w2, p);
        part(x0, x2, w0, p), part(x1, x3, w0, p);
        store(b + j, x0), store(b + j + q, x1), store(b + j + 2 * q, x2), store(b + j + 3 * q, x3);
      }
    }
  }
  const Factor sums = r.last[scale], differences = r.last_root[scale];
  const Power w1 = power_of(r.inverse, n, 2), w2 = power_of(r.inverse, n, 3);
  for (int64_t j = 0; j < q; j += L) {
    U32 x[4];
    for (int k = 0; k < 4; ++k) x[k] = load<U32>(a + j + k * q);
    part(x[0], x[1], w1, p), part(x[2], x[3], w2, p);
    for (int k = 0; k < 2; ++k) {
      store(a + j + k * q, reduced2(times(x[k] + x[k + 2], sums, p), p));
      store(a + j + (k + 2) * q, reduced2(times(x[k] - x[k + 2] + p2, differences, p), p));
    }
  }
}

// In lanes: lane i of vector c is number c of part i of n / L. Values at the roots that are only multiplied by others
// lie so: all stages behind the first log2 L then have a vector of powers each, and no lane goes to another. A run is
// so many vectors one behind the other; from one to the next is a stride.
enum : int64_t { kRlweRun = 4 * kRlweLanes };
AR_INLINE int64_t in_runs(int64_t vector, int64_t stride) {
  return vector * kRlweLanes / kRlweRun * stride + vector * kRlweLanes % kRlweRun;
}

// L vectors: lane l of vector i becomes lane i of vector l.
AR_INLINE void transpose(U32* x) {
#pragma GCC unroll 4
  for (int64_t t = kRlweLanes / 2; t; t /= 2)
#pragma GCC unroll 16
    for (int64_t i = 0; i < kRlweLanes; ++i)
      if (!(i & t)) exchange(x[i], x[i + t], t);
}

static void to_lanes(int64_t n, const uint32_t* a, uint32_t* lanes, int64_t stride) {
  const int64_t L = kRlweLanes;
  for (int64_t c = 0; c < n / L; c += L) {
    U32 x[L];
#pragma GCC unroll 16
    for (int64_t i = 0; i < L; ++i) x[i] = load<U32>(a + i * (n / L) + c);
    transpose(x);
#pragma GCC unroll 16
    for (int64_t i = 0; i < L; ++i) store(lanes + in_runs(c + i, stride), x[i]);
  }
}

static void from_lanes(int64_t n, const uint32_t* lanes, int64_t stride, uint32_t* a) {
  const int64_t L = kRlweLanes;
  for (int64_t c = 0; c < n / L; c += L) {
    U32 x[L];
#pragma GCC unroll 16
    for (int64_t i = 0; i < L; ++i) x[i] = load<U32>(lanes + in_runs(c + i, stride));
    transpose(x);
#pragma GCC unroll 16
    for (int64_t i = 0; i < L; ++i) store(a + i * (n / L) + c, x[i]);
  }
}

AR_INLINE Power lanes_power(const uint32_t* powers, int64_t i) {
  return {load<U32>(powers + 2 * i * kRlweLanes), load<U32>(powers + (2 * i + 1) * kRlweLanes)};
}

// The other stages of a polynomial in lanes, whose numbers are below 8 p; to numbers below p, in runs. x is changed.
static void last_stages_in_lanes(const RlwePrime& r, int64_t n, uint32_t* x, uint32_t* out, int64_t stride) {
  const U32 p = splat(r.p);
  const int64_t L = kRlweLanes;
  int64_t m = 1, block = n;
  bool odd = false;
  for (int64_t i = n / L; i > 1; i >>= 1) odd = !odd;
  if (odd) {
    const Power w = lanes_power(r.lanes_back, 1);
    block = n / 2, m = 2;
    for (int64_t j = 0; j < block; j += L) {
      U32 a = load<U32>(x + j), b = load<U32>(x + j + block);
      combine(a, b, w, p);
      store(x + j, a), store(x + j + block, b);
    }
  }
  for (; block >= 4 * L; m *= 4, block /= 4) {
    const int64_t q = block / 4;
    const bool last = q == L;
    for (int64_t i = 0; i < m; ++i) {
      uint32_t* b = x + i * block;
      const Power w0 = lanes_power(r.lanes_back, m + i);
      const Power w1 = lanes_power(r.lanes_back, 2 * (m + i)), w2 = lanes_power(r.lanes_back, 2 * (m + i) + 1);
      for (int64_t j = 0; j < q; j += L) {
        U32 v[4] = {load<U32>(b + j), load<U32>(b + j + q), load<U32>(b + j + 2 * q), load<U32>(b + j + 3 * q)};
        combine(v[0], v[2], w0, p), combine(v[1], v[3], w0, p);
        combine(v[0], v[1], w1, p), combine(v[2], v[3], w2, p);
#pragma GCC unroll 4
        for (int64_t k = 0; k < 4; ++k) {
          if (last) store(out + in_runs(4 * i + k, stride), reduced(v[k], r));
          else store(b + j + k * q, v[k]);
        }
      }
    }
  }
}

// out = a b, all below p. out may be either.
static void pointwise(const RlwePrime& r, int64_t n, const uint32_t* a, const uint32_t* b, uint32_t* out) {
  for (int64_t j = 0; j < n; j += kRlweLanes)
    store(out + j, reduced(wide_product(split(load<U32>(a + j)), split(load<U32>(b + j))), r));
}

// Small numbers with a sign, modulo p.
static void residues(const RlwePrime& r, int64_t n, const int8_t* a, uint32_t* out) {
  for (int64_t j = 0; j < n; ++j) out[j] = uint32_t(int32_t(a[j])) + (r.p & -(uint32_t(int32_t(a[j])) >> 31));
}

}  // namespace AR_TIER
}  // namespace autorep
