// The client's half: keys, encryption under its own secret, and decryption of an answer.
//
// An encryption of ring elements B is (c0, c1) with c0 + c1 s = q B / t + e: c1 is uniform, from a key that the server
// gets, and c0 / q is sent with the ring's bits and `low_words` words below them; what is cut off is noise like e.
#pragma once
#include "rlwe/args.h"
#include "rlwe/ntt.h"
#include "rlwe/sample.h"
#include "rlwe/torus.h"

namespace autorep {
namespace AR_TIER {

// Limb l of polynomial i has a stream of its own.
AR_INLINE uint64_t limb_stream(uint64_t polynomial, int limb) { return 8 * polynomial + uint64_t(limb); }

static void rlwe_sample(const RlweSampleArgs& a, int threads) {
  const int64_t n = a.tables->degree, limbs = a.kind == kUniform ? a.tables->limbs : 1;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.polynomials * limbs; ++task) {
    const uint64_t i = a.first + uint64_t(task / limbs);
    const int limb = int(task % limbs);
    if (a.kind == kUniform)
      sample_uniform(*a.key, limb_stream(i, limb), a.tables->prime[limb].p, n, (uint32_t*)a.out + task * n);
    else if (a.kind == kTernary) sample_ternary(*a.key, i, n, (int8_t*)a.out + task * n);
    else sample_noise(*a.key, i, n, (int8_t*)a.out + task * n);
  }
}

static void rlwe_ntt(const RlweNttArgs& a, int threads) {
  const int64_t n = a.tables->degree, limbs = a.tables->limbs;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.polynomials * limbs; ++task) {
    const RlwePrime& r = a.tables->prime[task % limbs];
    uint32_t* x = a.residues + task * n;
    if (!a.forward) {
      inverse(r, n, kScaleOne, x);
      continue;
    }
    residues(r, n, a.small + task / limbs * n, x);
    forward(r, n, x);
  }
}

static void rlwe_public(const RlwePublicArgs& a, int) {
  const int64_t n = a.tables->degree;
  int8_t e[kRlweMostDegree];
  sample_noise(*a.noise, 0, n, e);
  for (int l = 0; l < a.tables->limbs; ++l) {
    const RlwePrime& r = a.tables->prime[l];
    alignas(64) uint32_t product[kRlweMostDegree];
    uint32_t* out = a.out + l * n;
    pointwise(r, n, a.secret + l * n, a.other + l * n, product);
    residues(r, n, e, out);
    forward(r, n, out);
    for (int64_t j = 0; j < n; ++j) {
      const uint32_t difference = out[j] - product[j];
      out[j] = least(difference, difference + r.p);
    }
  }
}

template <class Ring>
static void encrypt_typed(const RlweEncryptArgs& a, int threads) {
  const RlweTables& t = *a.tables;
  const int64_t n = t.degree;
  const int spare = 128 - 8 * int(sizeof(Ring)) - 32 * a.low_words;  // bits of torus128 that are cut off
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < a.polynomials; ++i) {
    uint32_t* y = (uint32_t*)(a.scratch + omp_get_thread_num() * kRlweEncryptBytes);
    int8_t* e = (int8_t*)(y + t.limbs * n);
    sample_noise(*a.noise, a.first + uint64_t(i), n, e);
    for (int l = 0; l < t.limbs; ++l) {
      const RlwePrime& r = t.prime[l];
      sample_uniform(*a.public_key, limb_stream(a.first + uint64_t(i), l), r.p, n, y + l * n);
      pointwise(r, n, y + l * n, a.secret + l * n, y + l * n);
      for (int64_t j = 0; j < n; ++j) y[l * n + j] = r.p - y[l * n + j];
      inverse(r, n, kScaleCrt, y + l * n);
      add_small(r, n, e, y + l * n);
    }
    const Ring* plain = (const Ring*)a.plain + i * n;
    Ring* high = (Ring*)a.high + i * n;
    uint32_t* low = a.low + i * n * a.low_words;
    if (sizeof(Ring) == 4 && a.low_words == 1) {
      const Torus64 torus64(t);
      for (int64_t j = 0; j < n; ++j) {
        const uint64_t v = torus64(y, j);
        high[j] = Ring(v >> 32) + plain[j], low[j] = uint32_t(v);
      }
      continue;
    }
    for (int64_t j = 0; j < n; ++j) {
      const U128 v = torus128(t, y, j), rounded = spare ? v + (U128(1) << (spare - 1)) : v;
      high[j] = Ring(rounded >> (128 - 8 * int(sizeof(Ring)))) + plain[j];
      for (int w = 0; w < a.low_words; ++w)
        low[w * n + j] = uint32_t(rounded >> (128 - 8 * int(sizeof(Ring)) - 32 * (w + 1)));
    }
  }
}

static void rlwe_encrypt(const RlweEncryptArgs& a, int threads) {
  if (a.tables->width == 32) return encrypt_typed<uint32_t>(a, threads);
  encrypt_typed<uint64_t>(a, threads);
}

// What an answer holds of c1 / q, as a whole number A of 8 bits more than a ring element: round(A s / 2^8) is the
// client's share. |A s| is below the product of two (32 bits) or four (64) primes, so that A s is known exactly.
// v - take, or v where it is below least; both below 2^127. Compilers make a branch of a comparison of 128 bits, and v
// is made of the secret.
static inline U128 less_where_not_below(U128 v, U128 least, U128 take) {
  const uint64_t below = 0 - uint64_t((v - least) >> 127);
  return v - (take & ~(U128(below) << 64 | below));
}

template <class Ring>
static void decrypt_typed(const RlweDecryptArgs& a, int threads) {
  const RlweTables& t = *a.tables;
  const int64_t n = t.degree;
  const U128 modulus = U128(t.answer_high) << 64 | t.answer_low, half = modulus >> 1;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < a.polynomials; ++i) {
    uint32_t* y = (uint32_t*)(a.scratch + omp_get_thread_num() * kRlweEncryptBytes);
    const Ring* high = (const Ring*)a.high + i * n;
    const uint8_t* low = a.low + i * n;
    Ring* out = (Ring*)a.out + i * n;
    for (int l = 0; l < t.answer_limbs; ++l) {
      const RlwePrime& r = t.prime[l];
      uint32_t* x = y + l * n;
      for (int64_t j = 0; j < n; ++j) {
        x[j] = times1(uint32_t(high[j]), r.byte, r.p) + low[j];
        if (sizeof(Ring) == 8) x[j] += times1(uint32_t(uint64_t(high[j]) >> 32), r.byte_and_word, r.p);
      }
      forward(r, n, x);
      pointwise(r, n, x, a.secret + l * n, x);
      inverse(r, n, kScaleAnswer, x);
    }
    if (sizeof(Ring) == 4) {
      const uint64_t m = t.answer_low, middle = m >> 1;
      for (int64_t j = 0; j < n; ++j) {
        uint64_t v = y[j] * t.prime[0].rest_low + y[n + j] * t.prime[1].rest_low;  // below 2 m
        v -= m & -uint64_t(v >= m);
        v -= m & -uint64_t(v > middle);
        out[j] = Ring((v + 128) >> 8);
      }
      continue;
    }
    for (int64_t j = 0; j < n; ++j) {
      U128 v = 0;
      for (int l = 0; l < t.answer_limbs; ++l) {
        const RlwePrime& r = t.prime[l];
        const uint64_t b = y[l * n + j];
        v += U128(b) * r.rest_low + (U128(b * r.rest_high) << 64);
      }
      for (int l = 1; l < t.answer_limbs; ++l) v = less_where_not_below(v, modulus, modulus);
      v = less_where_not_below(v, half + 1, modulus);
      out[j] = Ring((v + 128) >> 8);
    }
  }
}

static void rlwe_decrypt(const RlweDecryptArgs& a, int threads) {
  if (a.tables->width == 32) return decrypt_typed<uint32_t>(a, threads);
  decrypt_typed<uint64_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
